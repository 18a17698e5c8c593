//! A saved model that somebody names on the command line, and the rows to run it on.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bert::{BertConfig, Checkpoint};
use crate::config::{BackendName, Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::{Encoder, has_tokenizer};
use crate::glue::sample::Sample;
use crate::glue::tsv::{Label, MAX_LINE_BYTES, Row};
use crate::infer::sets::check_ids;
use crate::run::folder::model_in;

/// Rows that are read, encoded and computed at a time.
const CHUNK: usize = 1024;

/// What `predict` and `encode` have in common.
#[derive(Args)]
pub struct SavedArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    pub model: PathBuf,
    /// File with a text per line, or two with a tab between them; - for standard input.
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
}

impl SavedArgs {
    /// Opens the model.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(&model_in(&self.model))
    }

    /// The model's tokenizer.
    pub fn encoder(&self, checkpoint: &Checkpoint) -> Result<Encoder> {
        let dir = self.tokenizer.as_deref().unwrap_or_else(|| checkpoint.folder());
        let encoder = Encoder::from_dir(dir).map_err(|e| match has_tokenizer(dir) {
            true => e,
            false => e.hint("name the folder that holds the tokenizer with --tokenizer"),
        })?;
        encoder.check_fits(checkpoint.config.vocab_size, dir)?;
        Ok(encoder)
    }

    pub fn batch_size(&self) -> usize {
        usize::from(self.batch_size)
    }

    /// The backend asked for, or the default one.
    pub fn backend(&self) -> Result<BackendName> {
        let named = self.backend.iter().map(|name| ("backend".to_string(), name.clone().into()));
        let settings = toml::Table::from_iter(named);
        let layer = Layer::command_line(settings);
        Ok(RunConfig::resolve(&[layer])?.run().backend)
    }

    /// What the input is called.
    fn place(&self) -> &Path {
        if self.input == Path::new("-") { Path::new("standard input") } else { &self.input }
    }

    /// The error of the row `index`, counted from 0.
    pub fn wrong(&self, index: usize, expected: &str, found: impl Display) -> Error {
        Error::content(self.place(), index + 1, expected, found)
    }

    /// Hands the rows of the input, encoded for the model `bert`, to `work`: some at a time with
    /// the number of the first.
    pub fn each_chunk(
        &self,
        encoder: &Encoder,
        bert: &BertConfig,
        mut work: impl FnMut(usize, Vec<Sample>) -> Result<()>,
    ) -> Result<()> {
        let path = self.place();
        let reader: Box<dyn BufRead> = if self.input == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(BufReader::new(File::open(path).map_err(|e| Error::io(path, "read", e))?))
        };
        let mut words = encoder.words();
        let mut rows = Vec::new();
        let mut first = 0;
        let mut reader = reader;
        loop {
            let number = first + rows.len();
            let line = next_line(&mut reader, path, number)?;
            let last = line.is_none();
            if let Some(line) = line {
                rows.push(row(path, number, line)?);
            }
            if rows.len() == CHUNK || (last && !rows.is_empty()) {
                let samples =
                    encoder.encode_batch(&rows, bert.max_position_embeddings, &mut words)?;
                check_ids(&samples, path, first + 1, bert)?;
                work(first, samples)?;
                first += rows.len();
                rows.clear();
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// The next line without its end; `None` at the end of the input.
fn next_line(reader: &mut dyn BufRead, path: &Path, number: usize) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(MAX_LINE_BYTES as u64 + 1);
    bounded.read_until(b'\n', &mut line).map_err(|e| Error::io(path, "read", e))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > MAX_LINE_BYTES {
        let expected = format!("a line of at most {MAX_LINE_BYTES} bytes");
        return Err(Error::content(path, number + 1, expected, "more"));
    }
    Ok(Some(line))
}

fn row(path: &Path, number: usize, line: Vec<u8>) -> Result<Row> {
    let wrong = |expected: &str, found: String| Error::content(path, number + 1, expected, found);
    let line = String::from_utf8(line)
        .map_err(|e| wrong("UTF-8 text", format!("the byte 0x{:02x}", first_bad(&e))))?;
    let line = line.trim_end_matches('\r');
    let line = if number == 0 { line.trim_start_matches('\u{feff}') } else { line };
    let mut fields = line.split('\t').map(str::to_owned);
    let (text_a, text_b) = (fields.next().unwrap_or_default(), fields.next());
    if fields.next().is_some() {
        let found = format!("{} fields", line.split('\t').count());
        return Err(wrong("a text, or two with a tab between them", found));
    }
    Ok(Row { uid: number.to_string(), label: Label::Class(0), text_a, text_b })
}

fn first_bad(error: &std::string::FromUtf8Error) -> u8 {
    error.as_bytes().get(error.utf8_error().valid_up_to()).copied().unwrap_or_default()
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
        };
        let bert = serde_json::json!({"vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "type_vocab_size": token_types});
        let bert = BertConfig::from_json(bert, Path::new("config.json")).unwrap();
        let mut all = Vec::new();
        args.each_chunk(&Encoder::from_dir(dir.path()).unwrap(), &bert, |first, samples| {
            all.push((first, samples.into_iter().map(|sample| sample.type_id).collect()));
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
