//! The demo's data, and the official files where they are at hand.

use std::path::Path;

use platon::glue::demo;
use platon::glue::encoder_at::EncoderAt;
use platon::glue::prepare::{Options, prepare};
use platon::glue::task::task;

use crate::dir::Dir;
use crate::fixtures::external;

#[test]
fn the_demo_data_in_the_repository_is_what_the_generator_makes() {
    let dir = Dir::new();
    demo::write(&demo::generate(demo::SEED), &dir.path("")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("glue-data/demo");
    for file in ["train.tsv", "dev.tsv", "model/vocab.txt", "model/config.json"] {
        let expected = std::fs::read_to_string(shipped.join(file)).unwrap();
        assert!(dir.read(file) == expected, "{file} differs: run `platon demo-data`");
    }
}

/// Rows counted with Python's `str.split("\n")` and the column rules of the task table.
#[test]
fn official_files_have_the_known_numbers_of_rows() {
    let Some(official) =
        external("PLATON_GLUE_DIR", "official_files_have_the_known_numbers_of_rows")
    else {
        return;
    };
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("glue-data/demo/model");
    let dir = Dir::new();
    for (name, rows) in [
        ("cola", [8551, 1043, 1063]),
        ("mrpc", [3667, 408, 1725]),
        ("rte", [2490, 277, 3000]),
        ("stsb", [5749, 1500, 1379]),
        ("wnli", [635, 71, 146]),
        ("sst", [67349, 872, 1821]),
    ] {
        let task = task(name).unwrap();
        for split in task.splits {
            let file = format!("{}/{}", task.folder, split.file);
            dir.write(&file, &std::fs::read_to_string(official.join(&file)).unwrap());
        }
        let options = Options { data_dir: &dir.path(""), tokenizer: &EncoderAt::new(&tokenizer) };
        let prepared = prepare(task, None, &options, &|_| ()).unwrap();
        let counts: Vec<usize> = prepared.iter().map(|p| p.rows).collect();
        assert_eq!(counts, rows, "{name}");
    }
}
