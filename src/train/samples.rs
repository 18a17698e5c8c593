//! The training samples of a run.

use std::path::Path;

use crate::bert::BertConfig;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::glue::prepare::{Options, PrepareEvent, canonical_file};
use crate::glue::read::open_data;
use crate::glue::sample::Sample;
use crate::glue::task::{Part, Split, Task};
use crate::glue::updates::{Bin, bins_by_length, one_bin};
use crate::infer::sets::{Data, EvalSet, SetInfo, Wanted};

/// The training samples that are short enough.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// The samples.
    pub samples: Vec<Sample>,
    /// Where they stand among all.
    pub places: Vec<usize>,
    /// How many more were too long.
    pub dropped: usize,
}

impl TrainingSet {
    /// The training samples of `data` of at most `max_tokens` tokens.
    ///
    /// # Errors
    /// A file is missing or malformed, does not belong to the model, or holds no sample that is
    /// short enough.
    pub fn read(data: &Data, max_tokens: usize) -> Result<Self> {
        let limit = max_tokens.min(data.bert.max_tokens());
        let samples = data.samples(Part::Train)?;
        let all = samples.len();
        let is_short = |(_, sample): &(usize, Sample)| sample.token_id.len() <= limit;
        let (places, samples): (Vec<_>, Vec<_>) =
            samples.into_iter().enumerate().filter(is_short).unzip();
        if samples.is_empty() {
            let name = if limit == max_tokens { "max_seq_len" } else { "max_position_embeddings" };
            return Err(Error::value(
                name,
                format!("training samples of at most {limit} tokens"),
                format!("{all} samples, all of them longer"),
            ));
        }
        Ok(Self { dropped: all - samples.len(), samples, places })
    }
}

/// The training and evaluation sets of all tasks of a run.
#[derive(Debug, Clone, Default)]
pub struct Sets {
    /// The training samples, task after task.
    pub samples: Vec<Sample>,
    /// Where each stands among all of its task.
    pub places: Vec<usize>,
    /// How many more were too long.
    pub dropped: usize,
    /// The first samples of the second task, the third, ...
    pub starts: Vec<usize>,
    /// Which samples may share a batch: of one task, and of like length where that is asked for.
    pub bins: Vec<Bin>,
    /// How many of these are the first task's.
    pub first_bins: usize,
    /// What is evaluated, task after task.
    pub evaluated: Vec<EvalSet>,
}

impl Sets {
    /// Those of `tasks`, prepared where they are missing.
    ///
    /// # Errors
    /// As [`TrainingSet::read`] and [`Data::eval_sets`].
    pub fn read(
        tasks: &[&'static Task],
        options: Options<'_>,
        bert: &BertConfig,
        config: &RunConfig,
        on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
    ) -> Result<Self> {
        let (settings, batch_size) = (config.data(), config.optimisation().batch_size);
        let mut all = Self::default();
        for (head, task) in tasks.iter().copied().enumerate() {
            let data = Data { task, options, bert, on_progress };
            let set = TrainingSet::read(&data, settings.max_seq_len)?;
            let mut bins = match settings.bins() {
                Some((width, growth)) => {
                    let lengths = set.samples.iter().map(|s| s.token_id.len());
                    bins_by_length(lengths, width, batch_size, growth)
                }
                None => one_bin(set.samples.len(), batch_size),
            };
            let start = all.samples.len();
            bins.iter_mut().flat_map(|bin| &mut bin.samples).for_each(|n| *n += start);
            if head == 0 {
                all.first_bins = bins.len();
            } else {
                all.starts.push(start);
            }
            all.bins.extend(bins);
            all.samples.extend(set.samples);
            all.places.extend(set.places);
            all.dropped += set.dropped;
            let Some(names) = names_of(task, tasks, &settings.test_datasets) else { continue };
            let wanted = Wanted {
                data_sets: &names,
                no_dev: false,
                tests: config.logging().glue_format_on || config.own().test_file.is_some(),
                with_label: settings.with_label,
            };
            let of_head =
                |EvalSet { about, samples }| EvalSet { about: SetInfo { head, ..about }, samples };
            all.evaluated.extend(data.eval_sets(&wanted)?.into_iter().map(of_head));
        }
        Ok(all)
    }
}

/// Which of the data sets that are wanted are those of `task`; `None` where it has none of them.
pub fn names_of(task: &Task, tasks: &[&Task], wanted: &[String]) -> Option<Vec<String>> {
    let has = |task: &Task, name: &str| {
        task.splits.iter().any(|split| split.part == Part::Dev && task.is_called(split, name))
    };
    // What is nobody's is refused where the first task's sets are read.
    let is_first = tasks.first().is_some_and(|first| first.name == task.name);
    let is_nobodys = |name: &str| is_first && !tasks.iter().any(|task| has(task, name));
    let own = wanted.iter().filter(|name| has(task, name) || is_nobodys(name));
    let own: Vec<String> = own.cloned().collect();
    (wanted.is_empty() || !own.is_empty()).then_some(own)
}

/// An upper bound of the number of training samples, from the lines of the raw files or else of the
/// canonical ones; `None` where one of them is not there to count.
pub fn raw_training_rows(task: &Task, data_dir: &Path) -> Option<usize> {
    let splits = task.splits.iter().filter(|split| split.part == Part::Train);
    splits.map(|split| raw_rows(task, split, data_dir)).sum()
}

fn raw_rows(task: &Task, split: &Split, data_dir: &Path) -> Option<usize> {
    let raw = data_dir.join(task.folder).join(split.file);
    let canonical = canonical_file(task, split.name, data_dir);
    let (path, header) = match raw.exists() {
        true => (raw, usize::from(task.layout(split).header)),
        false => (canonical, 0),
    };
    let mut file = open_data(&path).ok()?;
    let (mut lines, mut last, mut buffer) = (0usize, b'\n', [0u8; 1 << 16]);
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).ok()?;
        let read = buffer.get(..n)?;
        let Some(end) = read.last() else { break };
        lines += read.iter().filter(|byte| **byte == b'\n').count();
        last = *end;
    }
    let rows = lines + usize::from(last != b'\n');
    Some(rows.saturating_sub(header))
}
