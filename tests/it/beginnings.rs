//! What a run begins with: some of the layers of a model, or the weights of another run.

use std::collections::HashMap;

use crate::dir::Dir;
use crate::fixtures::read;

#[test]
fn the_first_layers_alone_can_be_kept() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --output-dir run --num-hidden-layers 1");
    assert_eq!(dir.json("run/model/config.json")["num_hidden_layers"], 1);
    assert_eq!(dir.json("run/report.json")["layers"].as_array().unwrap().len(), 6);
    dir.platon_ok("evaluate run");
    let line = dir.platon_refuses("train tiny --num-hidden-layers 3");
    assert!(line.contains("num_hidden_layers: expected at most the checkpoint's 2, found 3"));
}

#[test]
fn a_warm_start_begins_with_all_weights_of_a_finished_run() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --output-dir first --pruner none");
    // A step so small that it changes no weight.
    dir.platon_ok(
        "train tiny --no-tui --output-dir second --pruner none --learning-rate 1e-30 --max-steps 1 \
         --resume --model-ckpt first/model",
    );
    let weights = |run: &str| {
        let (tensors, _) = read(&dir.path(&format!("{run}/model/model.safetensors")));
        tensors.into_iter().map(|(k, v)| (k, v.values)).collect::<HashMap<_, _>>()
    };
    assert_eq!(weights("first"), weights("second"));
    // The checkpoint that gives sizes and tokenizer has no weights, and needs none.
    dir.platon_ok(
        "train tiny --no-tui --output-dir third --pruner none --learning-rate 1e-30 --max-steps 1 \
         --from-scratch=false --resume --model-ckpt first/model",
    );
    assert_eq!(weights("third"), weights("second"));
    // Sizes alone do not make a model that of these weights.
    let base = "glue-data/demo/model";
    let mut config = dir.json(&format!("{base}/config.json"));
    let heads = config["num_attention_heads"].as_u64().unwrap();
    let words = dir.read(&format!("{base}/vocab.txt"));
    dir.write("words/config.json", &config.to_string());
    let (first, rest) = words.trim_end().rsplit_once('\n').unwrap();
    let (first, other) = first.rsplit_once('\n').unwrap();
    dir.write("words/vocab.txt", &format!("{first}\n{rest}\n{other}\n"));
    config["num_attention_heads"] = (heads * 2).into();
    dir.write("heads/config.json", &config.to_string()).write("heads/vocab.txt", &words);
    for (base, expected) in [
        ("words", "model_ckpt: expected a model with the tokenizer of init_checkpoint's"),
        ("heads", "model_ckpt: expected a model with the num_attention_heads of init_checkpoint's"),
    ] {
        let line = dir.platon_refuses(&format!(
            "train tiny --no-tui --output-dir refused --init-checkpoint {base} --resume --model-ckpt \
             first/model"
        ));
        assert!(line.contains(expected) && line.contains("--init-checkpoint)"), "{line}");
    }
    let line = dir.platon_refuses("train tiny --resume");
    assert!(line.contains("output-dir: expected the folder of the run to go on with"), "{line}");
    assert_eq!(dir.platon("train tiny --model-ckpt first/model").code, 2);
}
