//! A saved model that somebody names on the command line, and the rows to run it on.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;

use super::inference::{EngineName, default_backend};
use super::printer::Printer;
use crate::bert::{BertConfig, Checkpoint};
use crate::config::{BackendName, Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::glue::sample::Sample;
use crate::glue::task::{Task, task};
use crate::glue::texts::Texts;
use crate::infer::sets::check_ids;
use crate::infer::tokenizer::TokenizerFolder;
use crate::run::folder::{model_in, run_of};
use crate::train::plan::task_of;

/// Rows that are read, encoded and computed at a time.
const CHUNK: usize = 1024;

/// What `predict` and `encode` have in common.
#[derive(Args)]
pub struct SavedArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    pub model: PathBuf,
    /// File with a text per line, or two with a tab between them, or with named columns or fields
    /// (.tsv, .csv, .jsonl); - for standard input.
    #[arg(long)]
    input: PathBuf,
    /// Folder with tokenizer.json or vocab.txt; without it that of the model.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Samples per batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,
    /// flex, ndarray, cuda or wgpu.
    #[arg(long)]
    backend: Option<String>,
    /// What computes the answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
}

impl SavedArgs {
    /// Opens the model.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(&model_in(&self.model))
    }

    /// The model's tokenizer.
    pub fn encoder(&self, checkpoint: &Checkpoint) -> Result<Encoder> {
        let folder = TokenizerFolder::of(self.tokenizer.as_deref(), checkpoint)?;
        let encoder = folder.encoder().map_err(|e| match folder.has_one() {
            true => e,
            false => e.hint("name the folder that holds the tokenizer with --tokenizer"),
        })?;
        encoder.check_fits(
            checkpoint.config.vocab_size,
            self.tokenizer.as_deref().unwrap_or_else(|| checkpoint.path()),
        )?;
        Ok(encoder)
    }

    /// The task that the model is for, where its run or its configuration says so.
    pub fn task(&self, checkpoint: &Checkpoint) -> Option<&'static Task> {
        match run_of(&self.model) {
            Some(run) => {
                let layer = Layer::from_file(&run.config()).ok()?;
                task_of(&RunConfig::resolve(&[layer]).ok()?).ok()
            }
            None => task(checkpoint.task()?).ok(),
        }
    }

    pub fn batch_size(&self) -> usize {
        usize::from(self.batch_size)
    }

    /// What computes the answers: the engine, and the backend asked for, or the default one.
    pub fn engine(&self) -> Result<(EngineName, BackendName)> {
        Ok((self.engine, default_backend(self.backend.as_deref())?))
    }

    /// What the input is called.
    fn place(&self) -> &Path {
        if self.input == Path::new("-") { Path::new("standard input") } else { &self.input }
    }

    /// The error of the line `line`, counted from 1.
    pub fn wrong(&self, line: usize, expected: &str, found: impl Display) -> Error {
        Error::content(self.place(), line, expected, found)
    }

    /// Hands the rows of the input, texts for `task` if one is known, encoded for the model `bert`, to
    /// `work`: some at a time.
    pub fn each_chunk(
        &self,
        (encoder, bert): (&Encoder, &BertConfig),
        task: Option<&'static Task>,
        printer: &Printer,
        mut work: impl FnMut(&Rows, Vec<Sample>) -> Result<()>,
    ) -> Result<()> {
        let path = self.place();
        let reader: Box<dyn BufRead> = if self.input == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(path).map_err(|e| Error::io(path, "read", e))?))
        };
        let mut texts = Texts::new(path, reader, task);
        let (mut words, mut is_told) = (encoder.words(), false);
        let mut read = Rows { first: 0, lines: Vec::new() };
        let mut rows = Vec::new();
        loop {
            let next = texts.next_row()?;
            if let Some(layout) = texts.layout().filter(|_| !is_told) {
                printer.log(&layout);
                is_told = true;
            }
            let last = next.is_none();
            if let Some((line, row)) = next {
                read.lines.push(line);
                rows.push(row);
            }
            if rows.len() == CHUNK || (last && !rows.is_empty()) {
                let samples =
                    encoder.encode_batch(&rows, bert.max_position_embeddings, &mut words)?;
                for (line, sample) in read.lines.iter().zip(&samples) {
                    check_ids(std::slice::from_ref(sample), path, *line, bert)?;
                }
                work(&read, samples)?;
                read = Rows { first: read.first + rows.len(), lines: Vec::new() };
                rows.clear();
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// Rows that have been read.
pub struct Rows {
    /// The number of the first one, from 0.
    pub first: usize,
    /// The line of each in the input, from 1.
    pub lines: Vec<usize>,
}

impl Rows {
    /// The line, from 1, of the row `place` of these.
    pub fn line(&self, place: usize) -> usize {
        self.lines.get(place).copied().unwrap_or(self.first + place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chunks of `input` for a model with so many token types, each as the number of its first
    /// row and its types.
    fn chunks(input: &str, token_types: usize) -> Result<Vec<(usize, Vec<Vec<u8>>)>> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n");
        let input = file("texts.txt", input);
        let args = SavedArgs {
            model: PathBuf::new(),
            input,
            tokenizer: None,
            batch_size: 1,
            backend: None,
            engine: EngineName::Auto,
        };
        let bert = serde_json::json!({"vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "type_vocab_size": token_types});
        let bert = BertConfig::from_json(bert, Path::new("config.json")).unwrap();
        let mut all = Vec::new();
        let encoder = Encoder::from_dir(dir.path()).unwrap();
        args.each_chunk((&encoder, &bert), None, &Printer::new(), |rows, samples| {
            assert_eq!(rows.lines.len(), samples.len());
            all.push((rows.first, samples.into_iter().map(|sample| sample.type_id).collect()));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn rows_come_in_chunks_with_the_number_of_the_first() {
        let all = chunks(&"a\ta\n".repeat(CHUNK + 1), 2).unwrap();
        let counts: Vec<_> = all.iter().map(|(first, types)| (*first, types.len())).collect();
        assert_eq!(counts, [(0, CHUNK), (CHUNK, 1)]);
        assert!(all.iter().flat_map(|(_, types)| types).all(|types| *types == [0, 0, 0, 1, 1]));
    }

    #[test]
    fn errors_name_the_lines_of_the_file_not_of_the_rows() {
        let text = chunks("sentence1\tsentence2\na\t\na\ta\n", 1).unwrap_err().to_string();
        assert!(text.contains("texts.txt:3: expected token types below"), "{text}");
    }

    #[test]
    fn a_pair_for_a_model_of_single_texts_is_refused_by_its_line() {
        assert_eq!(chunks("a\na\t\n", 1).unwrap().len(), 1);
        for before in [1, CHUNK + 1] {
            let text = chunks(&("a\n".repeat(before) + "a\ta\n"), 1).unwrap_err().to_string();
            let expected = format!(
                "texts.txt:{}: expected token types below the model's type_vocab_size 1, found 1",
                before + 1
            );
            assert!(text.contains(&expected), "{text}");
        }
    }
}
