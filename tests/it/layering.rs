//! Imports point down only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each top-level module may use of the crate. `main` uses `cli` alone.
const ALLOWED: [(&str, &[&str]); 31] = [
    ("activation", &[]),
    ("seed", &[]),
    ("error", &[]),
    ("panics", &[]),
    ("files", &["error"]),
    ("zipped", &[]),
    ("kernels", &["activation", "error", "sparse"]),
    ("download", &["error", "files", "zipped"]),
    ("tensorboard", &["error", "files"]),
    ("torch", &["error", "files", "zipped"]),
    ("metrics", &["error"]),
    ("glue", &["error", "files", "panics", "seed"]),
    ("submission", &["error", "files", "glue", "zipped"]),
    ("bert", &["activation", "error", "files", "kernels", "seed", "torch"]),
    ("optim", &["kernels"]),
    ("pruning", &["error", "kernels"]),
    ("sparse", &["activation"]),
    ("serve", &["bert", "error", "glue", "infer", "panics"]),
    ("infer", &["bert", "error", "files", "glue", "kernels", "metrics", "sparse", "submission"]),
    (
        "run",
        &[
            "bert",
            "error",
            "files",
            "glue",
            "infer",
            "metrics",
            "pruning",
            "report",
            "submission",
            "tensorboard",
        ],
    ),
    ("config", &["error", "files", "glue", "kernels", "optim", "pruning", "run"]),
    ("overview", &["config", "error", "files", "glue", "pruning", "report", "run", "sparse"]),
    ("backend", &["config", "error", "kernels", "panics", "world"]),
    ("machine", &["backend", "config", "error", "kernels", "panics", "sparse", "world"]),
    ("report", &["bert", "pruning", "sparse"]),
    ("export", &["activation", "bert", "error", "files", "glue", "infer", "sparse"]),
    (
        "train",
        &[
            "bert", "config", "error", "export", "files", "glue", "infer", "kernels", "optim",
            "overview", "panics", "pruning", "report", "run", "seed", "sparse", "world",
        ],
    ),
    (
        "cli",
        &[
            "backend",
            "bert",
            "config",
            "download",
            "error",
            "export",
            "files",
            "glue",
            "infer",
            "kernels",
            "machine",
            "metrics",
            "overview",
            "panics",
            "report",
            "run",
            "serve",
            "sparse",
            "submission",
            "train",
            "world",
        ],
    ),
    ("world", &["error", "files"]),
    ("lib", &[]),
    ("main", &["cli"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Source files with their top-level module and their code without comments and unit tests.
fn modules() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with("_tests.rs"))
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap();
            let top = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .take_while(|l| !l.starts_with("#[cfg(test)]") && !l.starts_with("#[cfg(all(test"))
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect();
            (top.trim_end_matches(".rs").to_string(), path.clone(), code.join("\n"))
        })
        .collect()
}

/// First path segments after `prefix` in `code`, where it begins a path.
fn uses(code: &str, prefix: &str) -> BTreeSet<String> {
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with("::"))
        .map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        })
        .filter(|name: &String| !name.is_empty())
        .collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    for (module, path, code) in modules() {
        assert!(!code.contains("crate::{"), "{}: one import a line", path.display());
        let allowed = ALLOWED.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{} has no rule", path.display()));
        let mut used = uses(&code, "crate::");
        used.extend(uses(&code, "platon::"));
        used.remove(&module);
        for name in used {
            assert!(allowed.contains(&name.as_str()), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn what_is_downloaded_is_what_can_be_read() {
    let known = platon::bert::Family::ALL.map(|family| family.model_type);
    assert_eq!(known, platon::download::sources::MODEL_TYPES);
}

#[test]
fn only_the_command_line_uses_clap_and_prints() {
    for (module, path, code) in modules() {
        if matches!(module.as_str(), "cli" | "main") {
            continue;
        }
        for word in ["clap::", "indicatif::", "println!", "eprintln!", "print!(", "dbg!("] {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn answers_and_run_folders_know_no_training() {
    for (module, path, code) in modules() {
        for (room, words) in [
            ("infer", ["burn_train::", "AutodiffBackend"].as_slice()),
            ("run", &["burn_train::", "burn::", "Backend>"]),
        ] {
            let found = words.iter().find(|word| module == room && code.contains(**word));
            assert!(found.is_none(), "{} has {found:?}", path.display());
        }
    }
}

#[test]
fn pruning_knows_neither_bert_nor_adamax() {
    for (module, path, code) in modules() {
        if module == "pruning" {
            for word in ["Bert", "bert", "Adamax", "adamax", "AnyOptimizer"] {
                assert!(!code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}
