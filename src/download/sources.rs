//! What to fetch and from where, as data.
//!
//! The GLUE addresses are those of GLUE's `download_glue_data.py`, the hashes those that Hugging
//! Face's and TensorFlow's data set libraries published for the same files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// The environment variable that replaces GLUE's addresses.
pub const GLUE_URL: &str = "PLATON_GLUE_URL";
/// The environment variable that replaces Hugging Face's address, as in its own tools.
pub const HF_URL: &str = "HF_ENDPOINT";
/// The list of hashes that a mirror may have at its base address, in the format of `sha256sum`.
pub const CHECKSUMS: &str = "SHA256SUMS";

const GLUE: &str = "https://dl.fbaipublicfiles.com/glue/data";
const SENTEVAL: &str = "https://dl.fbaipublicfiles.com/senteval/senteval_data";
const HUGGING_FACE: &str = "https://huggingface.co";

/// A file at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its name at the server and in the cache.
    pub name: &'static str,
    /// The official address without the name; a mirror has all files at one address.
    pub base: &'static str,
    /// The hash of the official file, where one is published.
    pub sha256: Option<&'static str>,
}

/// How the fetched files become a task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A zip archive that holds them in a folder.
    Archive(Remote),
    /// One file, taken as it is.
    Plain(Remote),
    /// Microsoft's two files, and the list of the pairs that GLUE moved to its dev set.
    Mrpc {
        /// The training file, which holds the dev set too.
        train: Remote,
        /// The test file.
        test: Remote,
        /// The pairs of ids.
        dev_ids: Remote,
    },
}

/// One task's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The task's name, as in the table of tasks.
    pub task: &'static str,
    /// What is fetched.
    pub form: Form,
}

const fn glue(name: &'static str, sha256: &'static str) -> Remote {
    Remote { name, base: GLUE, sha256: Some(sha256) }
}

const fn archive(task: &'static str, name: &'static str, sha256: &'static str) -> Source {
    Source { task, form: Form::Archive(glue(name, sha256)) }
}

/// The nine tasks and the diagnostic set.
const SOURCES: &[Source] = &[
    archive("cola", "CoLA.zip", "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
    archive("sst", "SST-2.zip", "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),
    Source {
        task: "mrpc",
        form: Form::Mrpc {
            train: Remote {
                name: "msr_paraphrase_train.txt",
                base: SENTEVAL,
                sha256: Some("60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89"),
            },
            test: Remote {
                name: "msr_paraphrase_test.txt",
                base: SENTEVAL,
                sha256: Some("a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784"),
            },
            dev_ids: glue(
                "mrpc_dev_ids.tsv",
                "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
            ),
        },
    },
    archive(
        "stsb",
        "STS-B.zip",
        "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85",
    ),
    archive(
        "qqp",
        "QQP-clean.zip",
        "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
    ),
    archive("mnli", "MNLI.zip", "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"),
    archive(
        "qnli",
        "QNLIv2.zip",
        "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
    ),
    archive("rte", "RTE.zip", "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),
    archive("wnli", "WNLI.zip", "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),
    Source {
        task: "ax",
        form: Form::Plain(glue(
            "AX.tsv",
            "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd",
        )),
    },
];

/// The `model_type`s of models that can be used; `bert::family`, which this module does not know, has
/// the same.
pub const MODEL_TYPES: [&str; 6] =
    ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra"];

/// The models that go by their short name at Hugging Face, with their owners.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("bert-base-uncased", "google-bert"),
    ("bert-large-uncased", "google-bert"),
    ("bert-base-cased", "google-bert"),
    ("bert-large-cased", "google-bert"),
    ("roberta-base", "FacebookAI"),
    ("roberta-large", "FacebookAI"),
    ("xlm-roberta-base", "FacebookAI"),
    ("camembert-base", "almanach"),
    ("distilbert-base-uncased", "distilbert"),
];

/// Whether a model goes by this short name.
#[must_use]
pub fn is_well_known(name: &str) -> bool {
    SHORT_NAMES.iter().any(|(short, _)| *short == name)
}

/// The source of a task.
///
/// # Errors
/// There is none of this name.
pub fn source(task: &str) -> Result<&'static Source> {
    SOURCES.iter().find(|source| source.task == task).ok_or_else(|| {
        let known: Vec<_> = SOURCES.iter().map(|source| source.task).collect();
        Error::value("task", format!("one of {}", known.join(", ")), task)
    })
}

impl Remote {
    /// The full address; with `mirror`, at that base address.
    pub fn url(&self, mirror: Option<&str>) -> String {
        format!("{}/{}", mirror.unwrap_or(self.base), self.name)
    }
}

/// The address of a file of a Hugging Face repository; `base` is the official one if `None`.
pub fn hub_url(base: Option<&str>, repository: &str, file: &str) -> String {
    format!("{}/{repository}/resolve/main/{file}", base.unwrap_or(HUGGING_FACE))
}

/// The repository of a model: `bert-base-uncased` is short for `google-bert/bert-base-uncased`.
///
/// # Errors
/// The name is neither a known short one nor of the form `owner/name`.
pub fn repository(model: &str) -> Result<String> {
    if let Some((short, owner)) = SHORT_NAMES.iter().find(|(short, _)| *short == model) {
        return Ok(format!("{owner}/{short}"));
    }
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    match model.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok(model.to_owned()),
        _ => {
            let expected =
                format!("owner/name or one of {}", SHORT_NAMES.map(|(short, _)| short).join(", "));
            Err(Error::value("model", expected, format!("'{model}'")))
        }
    }
}

/// A base address without its last slash; an empty one counts as none.
///
/// # Errors
/// It is not an HTTP address.
pub fn base_url<'a>(name: &str, url: Option<&'a str>) -> Result<Option<&'a str>> {
    let Some(url) = url.map(str::trim).filter(|url| !url.is_empty()) else { return Ok(None) };
    // What follows these would end up after the file's name.
    let plain = !url.contains(['?', '#', ' ']);
    if plain && (url.starts_with("http://") || url.starts_with("https://")) {
        return Ok(Some(url.trim_end_matches('/')));
    }
    Err(Error::value(name, "an address that begins with http:// or https://", format!("'{url}'")))
}

/// Reads the output of `sha256sum`: file name, without folders, to hash in lower case. `origin` is
/// named in errors.
///
/// # Errors
/// A line is not a hash and a name.
pub fn parse_checksums(origin: &str, text: &str) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.split_once([' ', '\t']).and_then(|(sha256, name)| {
            // A star marks what was read as binary.
            let path = name.trim_start().trim_start_matches('*');
            let name = Path::new(path).file_name()?.to_str()?;
            is_sha256(sha256).then(|| (name.to_owned(), sha256.to_ascii_lowercase()))
        });
        let Some((name, sha256)) = parsed else {
            return Err(Error::content(origin, index + 1, "a SHA-256 and a file's name", line));
        };
        sums.insert(name, sha256);
    }
    Ok(sums)
}

/// Whether `text` is a SHA-256 in hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
