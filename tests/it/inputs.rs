//! What a model's own task tells of its inputs, and models that no run made.

use crate::dir::Dir;

#[test]
fn the_task_s_own_files_csv_and_json_lines_are_predicted_as_plain_lines_are() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let file = dir.read("glue-data/demo/dev.tsv");
    let rows: Vec<[&str; 2]> = file
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            [fields[8], fields[9]]
        })
        .collect();
    let all = |row: &dyn Fn(&[&str; 2]) -> String| rows.iter().map(row).collect::<String>();
    dir.write("plain.txt", &all(&|[a, b]| format!("{a}\t{b}\n")));
    dir.write("named.tsv", &format!("premise\thypothesis\n{}", dir.read("plain.txt")));
    let csv = all(&|[a, b]| format!("\"{a}\",\"{b}\"\n"));
    dir.write("named.csv", &format!("sentence1,sentence2\n{csv}"));
    let json = |[a, b]: &[&str; 2]| {
        format!("{}\n", serde_json::json!({"label": 1, "hypothesis": b, "premise": a}))
    };
    dir.write("rows.jsonl", &all(&json));
    let plain = dir.platon_ok("predict run --input plain.txt");
    assert_eq!((plain.stdout.lines().count(), plain.stderr.lines().count()), (49, 2));
    assert!(plain.stderr.contains("\n48 rows in "), "{}", plain.stderr);
    for (input, said) in [
        ("glue-data/demo/dev.tsv", "read from the columns called sentence1 and sentence2"),
        ("named.tsv", "read from the columns called premise and hypothesis"),
        ("named.csv", "read from the columns called sentence1 and sentence2"),
        ("rows.jsonl", "read from the fields called premise and hypothesis"),
        ("glue-data/canonical_data/demo_dev.tsv", "read as a file of demo"),
    ] {
        let ended = dir.platon_ok(&format!("predict run --input {input}"));
        assert_eq!(ended.stdout, plain.stdout, "{input}");
        let before = format!("{input}: {said}\n48 rows in ");
        assert!(ended.stderr.contains(&before), "{}", ended.stderr);
        let piped = dir.platon_with_input("predict run/model --input -", &dir.read(input));
        assert_eq!(piped.stdout, plain.stdout, "{input}");
    }
    dir.write("one.txt", "a cat\ta dog\na cat\n");
    let line = dir.platon_refuses("predict run --input one.txt");
    let expected = "one.txt:2: expected two texts with a tab between them for demo, found one text";
    assert!(line.contains(expected), "{line}");
    assert_eq!(dir.platon_ok("encode run --input one.txt").stdout.lines().count(), 2);
}

#[test]
fn any_model_is_evaluated_on_a_task_that_is_named() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let own = dir.platon_ok("evaluate run").stdout;
    assert!(own.starts_with("demo_dev: loss "), "{own}");
    assert_eq!(dir.platon_ok("evaluate run/model").stdout, own);
    dir.platon_ok("export run --format hf --output folder");
    dir.platon_ok("export run --format sparse --output small.safetensors");
    std::fs::remove_dir_all(dir.path("run")).unwrap();
    for args in ["folder", "small.safetensors", "folder --task demo", "folder --task DEMO"] {
        assert_eq!(dir.platon_ok(&format!("evaluate {args}")).stdout, own);
    }
    let mut config = dir.json("folder/config.json");
    assert_eq!(config.as_object_mut().unwrap().remove("finetuning_task"), Some("demo".into()));
    dir.write("folder/config.json", &config.to_string());
    assert_eq!(dir.platon_ok("evaluate folder --task demo").stdout, own);
    let line = dir.platon_refuses("evaluate folder");
    assert!(line.contains("folder: expected a run folder, or a model whose config.json names"));
    assert!(line.ends_with("(hint: name the task with --task)"), "{line}");
    let line = dir.platon_refuses("submit folder");
    assert!(line.ends_with("(hint: name the folder of a finished run)"), "{line}");
    dir.write("one.txt", "a cat\n");
    let line = dir.platon_refuses("predict small.safetensors --input one.txt");
    assert!(line.contains("one.txt:1: expected two texts with a tab between them for demo"));
}

#[test]
fn the_diagnostic_set_has_nothing_to_evaluate() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let line = dir.platon_refuses("evaluate run --task ax");
    assert!(line.contains("task: expected a task with labelled sets to evaluate on, found ax"));
    assert!(line.ends_with("(hint: platon submit RUN writes its predictions for the GLUE server)"));
}

#[test]
fn a_sparse_file_brings_its_own_tokenizer() {
    let dir = Dir::with_finished_run("--max-steps 2");
    dir.write("texts.txt", "a cat\ta dog\n");
    let expected = dir.platon_ok("predict run --input texts.txt").stdout;
    dir.platon_ok("export run --format sparse --output small.safetensors");
    assert_eq!(dir.platon_ok("predict small.safetensors --input texts.txt").stdout, expected);
    dir.platon_ok("encode small.safetensors --input texts.txt");
    dir.platon_ok("train tiny --init-checkpoint small.safetensors --from-scratch=false --dry-run");
    // A file of weights alone lies beside its tokenizer.
    for file in ["model.safetensors", "config.json", "vocab.txt", "tokenizer.json"] {
        std::fs::copy(dir.path("run/model").join(file), dir.path(file)).unwrap();
    }
    assert_eq!(dir.platon_ok("predict model.safetensors --input texts.txt").stdout, expected);
    for file in ["vocab.txt", "tokenizer.json"] {
        std::fs::remove_file(dir.path(file)).unwrap();
    }
    let line = dir.platon_refuses("predict model.safetensors --input texts.txt");
    let expected = "error: .: expected tokenizer.json or vocab.txt, found neither (hint: name the";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn weights_in_several_files_are_one_model() {
    let dir = Dir::with_finished_run("--max-steps 2");
    dir.write("texts.txt", "a cat\ta dog\n");
    let expected = dir.platon_ok("predict run --input texts.txt").stdout;
    let whole = std::fs::read(dir.path("run/model/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let mut map = serde_json::Map::new();
    for n in 0..2 {
        let name = format!("model-{}-of-2.safetensors", n + 1);
        let part = tensors.iter().enumerate().filter(|(place, _)| place % 2 == n);
        let part: Vec<_> = part.map(|(_, tensor)| tensor).collect();
        map.extend(part.iter().map(|(tensor, _)| (tensor.to_string(), name.clone().into())));
        let bytes = safetensors::serialize(part, None).unwrap();
        std::fs::write(dir.path("run/model").join(name), bytes).unwrap();
    }
    std::fs::remove_file(dir.path("run/model/model.safetensors")).unwrap();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    dir.write("run/model/model.safetensors.index.json", &index);
    assert_eq!(dir.platon_ok("predict run --input texts.txt").stdout, expected);
    std::fs::remove_file(dir.path("run/model/model-2-of-2.safetensors")).unwrap();
    let line = dir.platon_refuses("predict run --input texts.txt");
    assert!(line.contains("index.json: expected its 2 files of weights, found no "), "{line}");
}

#[test]
fn what_is_no_model_is_called_what_it_is() {
    let dir = Dir::with_finished_run("--max-steps 2");
    dir.write("texts.txt", "a cat\ta dog\n");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        let path = format!("run/model/{file}");
        let whole = std::fs::read(dir.path(&path)).unwrap();
        dir.write(&path, pointer);
        let line = dir.platon_refuses("predict run --input texts.txt");
        let expected = format!("{path}: expected the file itself, found a git-lfs pointer to it");
        assert!(line.contains(&expected), "{line}");
        std::fs::write(dir.path(&path), whole).unwrap();
    }
    std::fs::remove_file(dir.path("run/model/model.safetensors")).unwrap();
    dir.write("run/model/adapter_model.safetensors", "");
    let line = dir.platon_refuses("predict run --input texts.txt");
    assert!(line.contains("found adapter_model.safetensors, an adapter without its"), "{line}");
}
