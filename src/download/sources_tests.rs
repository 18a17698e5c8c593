use super::*;

#[test]
fn every_task_has_a_source_with_a_hash_and_a_secure_address() {
    for name in ["cola", "sst", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"] {
        let remotes = match source(name).unwrap().form {
            Form::Archive(file) | Form::Plain(file) => vec![file],
            Form::Mrpc { train, test, dev_ids } => vec![train, test, dev_ids],
        };
        for remote in remotes {
            assert!(remote.url(None).starts_with("https://dl.fbaipublicfiles.com/"), "{name}");
            assert!(is_sha256(remote.sha256.unwrap()), "{name}");
        }
    }
    assert_eq!(SOURCES.len(), 10);
    let message = source("snli").unwrap_err().to_string();
    assert!(message.starts_with("task: expected one of cola, sst, mrpc"), "{message}");
}

#[test]
fn a_mirror_has_everything_at_one_address() {
    let Form::Mrpc { train, dev_ids, .. } = source("mrpc").unwrap().form else { panic!("mrpc") };
    assert_eq!(train.url(Some("http://m/glue")), "http://m/glue/msr_paraphrase_train.txt");
    assert_eq!(dev_ids.url(Some("http://m/glue")), "http://m/glue/mrpc_dev_ids.tsv");
    assert_eq!(train.url(None), format!("{SENTEVAL}/msr_paraphrase_train.txt"));
}

#[test]
fn models_have_short_names_or_an_owner() {
    assert_eq!(repository("bert-base-cased").unwrap(), "google-bert/bert-base-cased");
    assert_eq!(repository("roberta-base").unwrap(), "FacebookAI/roberta-base");
    assert_eq!(repository("someone/my_bert-1.0").unwrap(), "someone/my_bert-1.0");
    for bad in ["bert", "", "a/b/c", "../x", "x/..", "/x", "x/", "a/b?c", "a b/c", "a/b\n"] {
        let message = repository(bad).unwrap_err().to_string();
        assert!(message.contains("owner/name or one of bert-base-uncased"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
    let url = hub_url(None, "google-bert/bert-base-cased", "vocab.txt");
    assert_eq!(url, "https://huggingface.co/google-bert/bert-base-cased/resolve/main/vocab.txt");
    assert_eq!(hub_url(Some("http://m"), "a/b", "c"), "http://m/a/b/resolve/main/c");
}

#[test]
fn a_base_address_is_http_without_a_last_slash() {
    assert_eq!(base_url("glue-url", Some("http://m/x//")).unwrap(), Some("http://m/x"));
    assert_eq!(base_url("glue-url", Some(" ")).unwrap(), None);
    assert_eq!(base_url("glue-url", None).unwrap(), None);
    for bad in ["ftp://m", "glue", "http://m/?a=b", "http://m/a b"] {
        assert!(base_url("glue-url", Some(bad)).is_err(), "{bad}");
    }
}

#[test]
fn checksums_are_read_as_sha256sum_writes_them() {
    let hash = "AB".repeat(32);
    let text = format!("# made by hand\n\n{hash}  ./CoLA.zip\n{hash} *glue/AX.tsv\r\n");
    let sums = parse_checksums("SHA256SUMS", &text).unwrap();
    assert_eq!(sums.keys().collect::<Vec<_>>(), ["AX.tsv", "CoLA.zip"]);
    assert_eq!(sums["CoLA.zip"], "ab".repeat(32));
    for bad in [hash.clone(), "ab  CoLA.zip".to_owned(), format!("{hash}  ..")] {
        let message = parse_checksums("http://m/SHA256SUMS", &bad).unwrap_err().to_string();
        assert!(message.starts_with("http://m/SHA256SUMS:1: expected a SHA-256"), "{message}");
    }
}
