//! Links between the documents.

use std::path::{Path, PathBuf};

/// The documents, from the repository's root.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "glue-data", "checkpoints"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten());
    let files = files.map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}

/// The anchors that GitHub gives to a document's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", document.display());
            if let Some(anchor) = anchor {
                let found = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(found.iter().any(|a| a == anchor), "{}: {link}", document.display());
            }
        }
    }
    // Each page is found from the first one.
    let readme = std::fs::read_to_string(
        documents
            .iter()
            .find(|d| {
                d.ends_with("README.md")
                    && d.parent() == Some(Path::new(env!("CARGO_MANIFEST_DIR")))
            })
            .unwrap(),
    )
    .unwrap();
    for page in documents.iter().filter(|d| d.parent().unwrap().ends_with("docs")) {
        let name = format!("docs/{}", page.file_name().unwrap().to_string_lossy());
        assert!(readme.contains(&format!("]({name}")), "{name}");
    }
}
