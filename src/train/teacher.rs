//! A teacher's answers to the training samples: computed once, and kept in the run folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::plan::{Plan, model_for};
use crate::bert::checkpoint::weight_files;
use crate::bert::weights::Tensors;
use crate::bert::{BertClassifier, BertConfig, Checkpoint, HeadSettings};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::{read_whole, sha256_file};
use crate::glue::prepare::{Options, PrepareEvent, holds_encoded};
use crate::glue::sample::{Sample, fingerprint};
use crate::glue::task::Part;
use crate::infer::model::{BurnModel, Load, Model};
use crate::infer::sets::{Data, check_ids};
use crate::infer::tokenizer::TokenizerFolder;
use crate::infer::vectors_file::{TENSOR, VectorsFile};
use crate::kernels::TrainingBackend;
use crate::pruning::Pruner;
use crate::run::RunFolder;
use crate::world::{At, World};

/// What a file of answers says about itself.
const SAMPLES: &str = "samples_sha256";
const TEACHER: &str = "teacher_sha256";

/// Who is told how far the work is.
pub struct Progress<'a> {
    /// Of the encoding of the samples for the teacher.
    pub prepared: &'a (dyn Fn(PrepareEvent<'_>) + Sync),
    /// So many of so many samples are answered.
    pub answered: &'a dyn Fn(usize, usize),
}

/// Whether all that a run of these settings wants of its teacher is in its folder.
pub fn has_answered(config: &RunConfig, folder: &RunFolder) -> bool {
    config.objective().distill_hidden == 0.0 && folder.teacher_answers().is_file()
}

/// The settings of the run in `folder` that trains the own teacher of a run of these: the same, without
/// pruning.
///
/// # Errors
/// The path cannot stand in settings.
pub fn teacher_settings(config: &RunConfig, folder: &RunFolder) -> Result<RunConfig> {
    let path = folder.path().to_string_lossy().into_owned();
    config.with([
        ("pruner", Pruner::None.name().into()),
        ("keep_zeros", false.into()),
        ("teacher", "".into()),
        ("distill_hidden", 0.0.into()),
        ("output_dir", path.into()),
    ])
}

/// Gives the training samples of `plan` the answers of the teacher that the settings name, if they
/// name one: those in the run folder where they are there, and else new ones, which are then put there.
/// Each of the processes of a run computes its share. `begun` is the fingerprint of the data, the answers
/// among them, that the run has begun with, where it has.
///
/// # Errors
/// The teacher cannot be read, is not one for this task, or is another one than the run began with;
/// the file cannot be read or written.
pub fn teach<B: TrainingBackend>(
    plan: &mut Plan,
    config: &RunConfig,
    folder: &RunFolder,
    device: &B::Device,
    begun: Option<&str>,
    world: &World,
    progress: &Progress<'_>,
) -> Result<()> {
    let Some(path) = &config.objective().teacher else { return Ok(()) };
    let samples = fingerprint(std::iter::once(plan.samples.as_slice()))?;
    let (path, file) = (place(config, folder, path), folder.teacher_answers());
    let outputs = plan.task.outputs();
    let answers = if file.is_file() {
        // What a run that has begun goes on from is bound to the answers that it began with: where
        // answers are all that is learnt from, nothing else of the teacher matters any more.
        let has_begun = folder.checkpoints().exists();
        let is_wanted = !has_begun || config.objective().distill_hidden > 0.0;
        let teacher = is_wanted.then(|| model_for(&path, plan.task)).and_then(Result::ok);
        kept(&file, &samples, teacher.as_deref(), outputs).map_err(|e| match has_begun {
            true => e.hint("put back the teacher and this file as the run began, or train anew"),
            false => e.hint("remove this file to have the teacher asked anew"),
        })?
    } else {
        let open = || Teacher::open(plan, config, &model_for(&path, plan.task)?, progress.prepared);
        let teacher = world.in_turn(open)?;
        let about = [(SAMPLES, samples), (TEACHER, teacher.sha256.clone())];
        let answers = teacher.answers::<B>(config, device, world, progress.answered)?;
        give(plan, &answers, outputs);
        if let Some(begun) = begun
            && plan.fingerprint()? != begun
        {
            let expected = "the answers that the run began with, which are lost";
            return Err(Error::content(&file, None, expected, "others, or others' samples").hint(
                "put this file back, or the teacher and the data as they were, or train anew",
            ));
        }
        let about = about.map(|(name, value)| (name.to_string(), value));
        let mut written = VectorsFile::new(&file, outputs, HashMap::from(about))?;
        written.add(&answers)?;
        written.finish()?;
        answers
    };
    give(plan, &answers, outputs);
    Ok(())
}

/// Gives the training samples of `plan` their answers, `[samples, outputs]`.
fn give(plan: &mut Plan, answers: &[f32], outputs: usize) {
    for (sample, answer) in plan.samples.iter_mut().zip(answers.chunks(outputs.max(1))) {
        sample.softlabel = answer.to_vec();
    }
}

/// Where the teacher `path` is: of its own a run folder may have been moved together with it, but the
/// folders of further ranks hold none.
fn place(config: &RunConfig, folder: &RunFolder, path: &Path) -> PathBuf {
    let own = folder.teacher();
    let is_own = config.has_own_teacher() && own.path().is_dir();
    if is_own { own.path().to_path_buf() } else { path.to_path_buf() }
}

/// The model whose hidden states are learnt from, if any are, and its width.
///
/// # Errors
/// It cannot be read, has another tokenizer, or reads shorter texts than the run's samples.
pub(super) fn states_teacher<B: TrainingBackend>(
    plan: &Plan,
    config: &RunConfig,
    folder: &RunFolder,
    device: &B::Device,
) -> Result<Option<(BertClassifier<B::InnerBackend>, usize)>> {
    let settings = config.objective();
    let Some(path) = settings.teacher.as_ref().filter(|_| settings.distill_hidden > 0.0) else {
        return Ok(None);
    };
    let path = model_for(&place(config, folder, path), plan.task)?;
    let checkpoint = opened(&path)?;
    if reads_otherwise(plan, &checkpoint)? {
        let expected = "a teacher with the model's tokenizer";
        return Err(Error::value("distill_hidden", expected, path.display())
            .hint("leave distill-hidden away: answers alone can be those of any model"));
    }
    samples_for(plan, config, &checkpoint, &|_| ())?;
    let bert = checkpoint.config.clone();
    let width = bert.hidden_size;
    let weights = Load::For(plan.task).read(checkpoint)?;
    let model = BurnModel::<B::InnerBackend>::new(bert, weights, device)?;
    Ok(Some((model.into_net(), width)))
}

/// Whether the teacher's tokenizer is another than the run's. Samples that were encoded elsewhere are
/// all that there is.
///
/// # Errors
/// The teacher has no tokenizer, and another number of words than the run's model.
fn reads_otherwise(plan: &Plan, teacher: &Checkpoint) -> Result<bool> {
    let folder = TokenizerFolder::of(None, teacher)?;
    if !folder.has_one() {
        let (own, found) = (plan.bert.vocab_size, teacher.config.vocab_size);
        if own == found {
            return Ok(false);
        }
        let expected = format!("a teacher with a tokenizer, or with the model's {own} words");
        let found = format!("{}, which has none and {found} words", teacher.path().display());
        return Err(Error::value("teacher", expected, found)
            .hint("put the teacher's tokenizer.json or vocab.txt into its folder"));
    }
    let Some(own) = &plan.encoder else { return Ok(false) };
    Ok(!folder.holds(own)?)
}

/// The answers in `file`, checked; those of `teacher`, if that matters.
fn kept(file: &Path, samples: &str, teacher: Option<&Path>, outputs: usize) -> Result<Vec<f32>> {
    let bytes = read_whole(file)?;
    let broken =
        |found: &dyn std::fmt::Display| Error::content(file, None, "a teacher's answers", found);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(&e))?;
    let about = |name: &str| {
        header.metadata().as_ref().and_then(|about| about.get(name)).cloned().unwrap_or_default()
    };
    if about(SAMPLES) != samples {
        let found = "answers to others";
        return Err(Error::content(file, None, "answers to this run's samples", found));
    }
    // One that is gone cannot have changed.
    if let Some(teacher) = teacher
        && digest(teacher)?.is_some_and(|digest| digest != about(TEACHER))
    {
        let expected = format!("answers of {} as it is now", teacher.display());
        return Err(Error::content(file, None, expected, "those of another model"));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(&e))?;
    let tensor = tensors.tensor(TENSOR).map_err(|e| broken(&e))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape().get(1) != Some(&outputs) {
        return Err(broken(&format!("a tensor of shape {:?}", tensor.shape())));
    }
    let values =
        tensor.data().chunks_exact(4).map(|b| b.try_into().map_or(f32::NAN, f32::from_le_bytes));
    Ok(values.collect())
}

/// What tells one teacher from another: the SHA-256 of its weights' file, of several that of theirs;
/// `None` where there are none.
fn digest(teacher: &Path) -> Result<Option<String>> {
    let files = weight_files(teacher)?;
    let sums = files.iter().map(|file| sha256_file(file)).collect::<Result<Vec<_>>>()?;
    Ok(match sums.as_slice() {
        [] => None,
        [sum] => Some(sum.clone()),
        sums => Some(format!("{:x}", Sha256::digest(sums.join("\n")))),
    })
}

/// The checkpoint of the teacher at `path`.
fn opened(path: &Path) -> Result<Checkpoint> {
    Checkpoint::open(path).map_err(|e| match e {
        e @ Error::Io { .. } => e.hint(
            "--teacher names a run or a folder with a classifier; a run that begins may have its own, self",
        ),
        e => e,
    })
}

struct Teacher {
    bert: BertConfig,
    weights: (Tensors, Option<HeadSettings>),
    sha256: String,
    /// As the teacher reads them, in the run's order.
    samples: Vec<Sample>,
}

impl Teacher {
    fn open(
        plan: &Plan,
        config: &RunConfig,
        path: &Path,
        on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
    ) -> Result<Self> {
        let checkpoint = opened(path)?;
        let samples = samples_for(plan, config, &checkpoint, on_progress)?;
        let sha256 = digest(path)?.unwrap_or_default();
        let bert = checkpoint.config.clone();
        let weights = Load::For(plan.task).read(checkpoint)?;
        Ok(Self { bert, weights, sha256, samples })
    }

    /// The logits, sample after sample.
    fn answers<B: TrainingBackend>(
        self,
        config: &RunConfig,
        device: &B::Device,
        world: &World,
        on_answered: &dyn Fn(usize, usize),
    ) -> Result<Vec<f32>> {
        let model = BurnModel::<B::InnerBackend>::new(self.bert, self.weights, device)?;
        let share = self.samples.len().div_ceil(world.size()).max(1);
        let own = self.samples.chunks(share).nth(world.rank()).unwrap_or_default().to_vec();
        let batch_size = config.logging().batch_size_eval;
        let found = model.predict(vec![own], batch_size, on_answered);
        let logits = found.into_iter().flat_map(|(predictions, _)| predictions.logits).collect();
        let all: Vec<Vec<f32>> = world.gather(At::Ready, &logits)?;
        let all = all.concat();
        match all.iter().all(|logit| logit.is_finite()) {
            true => Ok(all),
            false => Err(Error::value("teacher", "a model with finite answers", "one without")),
        }
    }
}

/// The training samples of `plan` as the model of `checkpoint` reads them.
fn samples_for(
    plan: &Plan,
    config: &RunConfig,
    checkpoint: &Checkpoint,
    on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
) -> Result<Vec<Sample>> {
    let bert = &checkpoint.config;
    let samples = if reads_otherwise(plan, checkpoint)? {
        let folder = TokenizerFolder::of(None, checkpoint)?;
        let data_dir = super::plan::data_dir_of(config, plan.task, &[Part::Train])?;
        if holds_encoded(plan.task, &data_dir) {
            let expected = "a teacher with the tokenizer of the encoded samples";
            return Err(Error::value("teacher", expected, checkpoint.path().display())
                .hint("name the folder of the raw files with --data-dir"));
        }
        let options = Options { data_dir: &data_dir, tokenizer: folder.at() };
        let data = Data { task: plan.task, options, bert, on_progress };
        let all = data.samples(Part::Train)?;
        plan.places.iter().filter_map(|n| all.get(*n)).cloned().collect()
    } else {
        check_ids(&plan.samples, checkpoint.path(), 1, bert)?;
        plan.samples.clone()
    };
    let longest = samples.iter().map(|sample| sample.token_id.len()).max().unwrap_or(0);
    if longest > bert.max_tokens() {
        let expected = format!("a teacher for texts of {longest} tokens");
        let found = format!("one for {}", bert.max_tokens());
        return Err(Error::value("teacher", expected, found).hint("lower --max-seq-len"));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_teacher_in_several_files_is_another_where_one_of_them_is() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(digest(dir.path()).unwrap(), None);
        write("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "1.bin", "b": "2.bin"}}"#);
        write("1.bin", "one");
        write("2.bin", "two");
        let before = digest(dir.path()).unwrap();
        // printf '%s\n%s' $(printf one | sha256sum) ...: of both sums, a line each.
        let sums = ["one", "two"].map(|text| format!("{:x}", Sha256::digest(text)));
        let expected = format!("{:x}", Sha256::digest(sums.join("\n")));
        assert_eq!(before.as_deref(), Some(expected.as_str()));
        write("2.bin", "other");
        assert_ne!(digest(dir.path()).unwrap(), before);
        // A single file's is its own, by whatever name it is found.
        write("model.safetensors", "one");
        let [one, _] = &sums;
        assert_eq!(digest(dir.path()).unwrap().as_ref(), Some(one));
        assert_eq!(digest(&dir.path().join("1.bin")).unwrap().as_ref(), Some(one));
    }
}
