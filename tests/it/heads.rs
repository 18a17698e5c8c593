//! What a `config.json` says of the head, and what becomes of it.

use std::collections::BTreeMap;
use std::path::Path;

use platon::bert::family::BERT;
use platon::bert::weights::{StoredTensor, Tensors, save};
use platon::bert::{Checkpoint, HeadSettings};
use platon::glue::sample::Sample;
use platon::glue::task::task;
use platon::glue::tsv::Label;
use platon::infer::model::{BurnModel, Load, Model};
use platon::infer::packed::PackedModel;
use platon::kernels::{LayerKernels, ModelKernels};
use platon::sparse::Instructions;
use serde_json::{Value, json};

use crate::backends::{allowed, alone_with_random_numbers, on_every_backend};
use crate::dir::Dir;
use crate::fixtures::{distance, fixture, read};
use crate::hostile::folder;

const CONFIG: &str = "run/model/config.json";
const PREDICT: &str = "predict run --input texts.txt";

on_every_backend!(outputs_of_another_order_answer_in_the_task_s);

/// Puts the rows of a model's head, and its labels, into another order.
fn permute(folder: &Path, order: &[usize]) {
    let (file, config) = (folder.join("model.safetensors"), folder.join("config.json"));
    let Tensors { mut tensors, .. } =
        Tensors::from_safetensors(&BERT, &file, &std::fs::read(&file).unwrap()).unwrap();
    for name in ["classifier.weight", "classifier.bias"] {
        let StoredTensor { shape, values } = tensors.get_mut(name).unwrap();
        let rows: Vec<_> = values.chunks(values.len() / shape[0]).map(<[f32]>::to_vec).collect();
        *values = order.iter().flat_map(|n| rows[*n].clone()).collect();
    }
    save(&tensors, &file).unwrap();
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    let names = json["id2label"].clone();
    for (new, old) in order.iter().enumerate() {
        json["id2label"][new.to_string()] = names[old.to_string()].clone();
    }
    json.as_object_mut().unwrap().shift_remove("label2id");
    std::fs::write(config, json.to_string()).unwrap();
}

/// The logits come from `tests/fixtures/tiny_bert.py`, by transformers.
fn outputs_of_another_order_answer_in_the_task_s<B: LayerKernels + ModelKernels>() {
    let (arrays, _) = read(&fixture("tiny_bert/expected.safetensors"));
    let dir = Dir::new();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("tiny_bert").join(file), dir.path(file)).unwrap();
    }
    // Contradiction, neutral, entailment become entailment, contradiction, neutral.
    permute(&dir.path(""), &[2, 0, 1]);
    let [ids, types] = ["input_ids", "token_type_ids"].map(|name| &arrays[name]);
    let lengths = [17, 11, 1, 6, 2];
    let sample = |(n, length): (usize, &usize)| Sample {
        uid: n.to_string(),
        label: Label::Class(0),
        token_id: ids.row(n)[..*length].iter().map(|v| *v as u32).collect(),
        type_id: types.row(n)[..*length].iter().map(|v| *v as u8).collect(),
        attention_mask: vec![1; *length],
        softlabel: Vec::new(),
    };
    let samples: Vec<Sample> = lengths.iter().enumerate().map(sample).collect();
    let expected = arrays["logits"].f32();
    let permuted: Vec<f32> = expected.chunks(3).flat_map(|row| [row[2], row[0], row[1]]).collect();
    let labels = ["contradiction", "neutral", "entailment"];
    let stored = ["entailment", "contradiction", "neutral"];
    for (load, expected, labels) in [
        (Load::For(task("mnli").unwrap()), &expected, labels),
        (Load::Classifier, &permuted, stored),
    ] {
        let checkpoint = Checkpoint::open(&dir.path("")).unwrap();
        let _alone = alone_with_random_numbers();
        let (bert, read) = (checkpoint.config.clone(), load.read(checkpoint).unwrap());
        let packed = PackedModel::new(&bert, read.clone(), Instructions::widest()).unwrap();
        let model = BurnModel::<B>::new(bert, read, &B::Device::default()).unwrap();
        let models: [(&dyn Model, f32); 2] = [(&model, allowed::<B>(1e-5)), (&packed, 1e-5)];
        for (model, allowed) in models {
            assert_eq!(model.head().unwrap().labels, labels);
            let all = model.predict(vec![samples.clone()], 2, &|_, _| ());
            assert!(distance(&all[0].0.logits, expected) < allowed, "{load:?}");
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn a_warm_start_takes_the_head_in_the_task_s_order() {
    let dir = Dir::new().with_tiny_demo("flex");
    let again = "train tiny --no-tui --pruner none --learning-rate 1e-30 --max-steps 1 --resume";
    dir.platon_ok("train tiny --no-tui --output-dir first --pruner none");
    dir.platon_ok(&format!("{again} --model-ckpt first/model --output-dir second"));
    let scores = dir.platon_ok("evaluate first").stdout;
    let weights = |run: &str| -> BTreeMap<String, Vec<f32>> {
        let (tensors, _) = read(&dir.path(&format!("{run}/model/model.safetensors")));
        tensors.into_iter().map(|(name, tensor)| (name, tensor.f32())).collect()
    };
    let before = weights("first");
    permute(&dir.path("first/model"), &[2, 0, 1]);
    assert_ne!(weights("first"), before);
    assert_eq!(dir.platon_ok("evaluate first").stdout, scores);
    dir.platon_ok(&format!("{again} --model-ckpt first/model --output-dir third"));
    // The step is too small to change a weight.
    assert_eq!(weights("third"), weights("second"));
    assert_eq!(dir.json("third/model/config.json"), dir.json("second/model/config.json"));
    let config = dir.read("first/model/config.json").replace("neutral", "unknown");
    dir.write("first/model/config.json", &config);
    let expected = "expected labels of demo: contradiction, neutral, entailment, found \
                    entailment, contradiction, unknown (hint: give id2label the task's names";
    for args in ["evaluate first", &format!("{again} --model-ckpt first/model --output-dir new")] {
        let line = dir.platon_refuses(args);
        assert!(line.contains(&format!("error: first/model/config.json: {expected}")), "{line}");
    }
    assert!(!dir.path("new/model").exists());
}

/// The configuration of the smallest model after `change`.
fn configured(change: impl Fn(&mut Value)) -> Dir {
    let dir = folder();
    let mut json = dir.json(CONFIG);
    change(&mut json);
    dir.write(CONFIG, &json.to_string());
    dir
}

fn rows(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn labels_that_hold_by_themselves_have_probabilities_by_themselves() {
    let dir = configured(|json| json["problem_type"] = json!("multi_label_classification"));
    let all = rows(&dir.platon_ok(&format!("{PREDICT} --json")).stdout);
    let table = dir.platon_ok(PREDICT).stdout;
    assert_eq!(table.lines().next().unwrap(), "index\tprediction\tnot_entailment\tentailment");
    assert_eq!(all.len(), 2);
    for (row, line) in all.iter().zip(table.lines().skip(1)) {
        let (mut holds, mut names, mut printed) = (Vec::new(), Vec::new(), Vec::new());
        for (n, name) in ["not_entailment", "entailment"].into_iter().enumerate() {
            let logit = row["logits"][n].as_f64().unwrap();
            let probability = 1.0 / (1.0 + (-logit).exp());
            let found = row["scores"][n].as_f64().unwrap();
            assert!((found - probability).abs() < 1e-6, "{found} and {probability}");
            printed.push(format!("{probability:.4}"));
            if probability > 0.5 {
                holds.push(n);
                names.push(name);
            }
        }
        assert_eq!((&row["label"], &row["prediction"]), (&json!(holds), &json!(names)));
        let fields: Vec<&str> = line.split('\t').skip(1).collect();
        assert_eq!(fields, [&[names.join(",")], &printed[..]].concat());
    }
    for args in ["evaluate run", "submit run"] {
        let line = dir.platon_refuses(args);
        let expected = "run/model/config.json: expected a head of a single_label_classification, \
                        as rte needs, found multi_label_classification";
        assert!(line.contains(expected), "{line}");
    }
}

/// A head of one output over the smallest model.
fn one_output(dir: &Dir) {
    let file = dir.path("run/model/model.safetensors");
    let Tensors { mut tensors, .. } =
        Tensors::from_safetensors(&BERT, &file, &std::fs::read(&file).unwrap()).unwrap();
    for (name, shape) in [("classifier.weight", vec![1, 4]), ("classifier.bias", vec![1])] {
        let tensor = tensors.get_mut(name).unwrap();
        tensor.values.truncate(shape.iter().product());
        tensor.shape = shape;
    }
    save(&tensors, &file).unwrap();
}

#[test]
fn one_output_is_a_value() {
    for settings in [
        json!({"num_labels": 1}),
        json!({"id2label": {"0": "similarity"}}),
        json!({"id2label": {"0": "similarity"}, "problem_type": "regression"}),
        json!({}),
    ] {
        let dir = configured(|json| {
            let json = json.as_object_mut().unwrap();
            json.shift_remove("id2label");
            json.extend(settings.as_object().unwrap().clone());
        });
        one_output(&dir);
        let all = rows(&dir.platon_ok(&format!("{PREDICT} --json")).stdout);
        for row in &all {
            assert_eq!(row["label"], row["logits"][0], "{settings}");
            assert_eq!(row["scores"], row["logits"], "{settings}");
        }
        let table = dir.platon_ok(PREDICT).stdout;
        let value = all[1]["logits"][0].as_f64().unwrap();
        assert_eq!(table.lines().next(), Some("index\tprediction"));
        assert_eq!(table.lines().nth(2), Some(format!("1\t{}", value as f32).as_str()));
    }
    let dir = configured(|json| json["id2label"] = json!({"0": "a", "1": "b", "2": "c"}));
    let line = dir.platon_refuses(PREDICT);
    let expected = "config.json: expected labels of the 2 outputs that the weights have, found a";
    assert!(line.contains(expected), "{line}");
    let dir = configured(|json| json["architectures"] = json!(["BertForMultipleChoice"]));
    let line = dir.platon_refuses(PREDICT);
    assert!(line.contains("found BertForMultipleChoice (hint: other heads are not"), "{line}");
}

#[test]
fn what_is_written_keeps_the_head_s_settings() {
    let names = json!({"0": "not_entailment", "1": "entailment"});
    for model_type in [true, false] {
        let dir = configured(|json| {
            json["problem_type"] = json!("multi_label_classification");
            json["classifier_dropout"] = json!(0.3);
            json["hidden_dropout_prob"] = json!(0.2);
            json["attention_probs_dropout_prob"] = json!(0.25);
            if !model_type {
                json.as_object_mut().unwrap().shift_remove("model_type");
            }
        });
        dir.platon_ok("export run --format sparse --output model.sparse");
        for args in ["export run --format hf --output hf", "convert model.sparse out"] {
            dir.platon_ok(args);
            let json = dir.json(&format!("{}/config.json", args.rsplit(' ').next().unwrap()));
            assert_eq!(json["model_type"], "bert");
            assert_eq!(json["id2label"], names, "{args}, {model_type}");
            assert_eq!(json["problem_type"], "multi_label_classification");
            assert_eq!(json["classifier_dropout"], 0.3);
            assert_eq!(json["hidden_dropout_prob"], 0.2);
            assert_eq!(json["attention_probs_dropout_prob"], 0.25);
        }
        let before = dir.platon_ok(&format!("{PREDICT} --json")).stdout;
        let after = dir.platon_ok("predict out --input texts.txt --json").stdout;
        assert_eq!(before, after);
    }
    // Transformers would take two labels where nothing is said.
    let dir = configured(|json| drop(json.as_object_mut().unwrap().shift_remove("id2label")));
    one_output(&dir);
    dir.platon_ok("convert run out");
    assert_eq!(dir.json("out/config.json")["id2label"], json!({"0": "LABEL_0"}));
    let head = HeadSettings::read(&dir.json("out/config.json"), Path::new(""), 1).unwrap();
    assert_eq!(head.labels, ["LABEL_0"]);
}
