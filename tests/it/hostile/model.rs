//! Hostile `config.json` of a model.

use super::{
    CONFIG, EVALUATE, Edit, Made, PREDICT, Planted, TRAIN, Text, folder_instead, loop_instead,
    refuse, refuses, remove,
};

/// The smallest BERT.
pub const CONFIG_JSON: &str = r#"{"model_type": "bert", "vocab_size": 10, "hidden_size": 4,
"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
"max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
"hidden_act": "gelu", "initializer_range": 0.02, "pad_token_id": 0,
"id2label": {"0": "not_entailment", "1": "entailment"}}"#;

#[test]
fn configurations() {
    refuses(
        PREDICT,
        CONFIG,
        &[
            (Text(""), ":1: expected JSON, found EOF"),
            (Text("{\"a\":\n \"b"), ":2: expected JSON, found EOF"),
            (Text("torch"), ":1: expected JSON, found expected"),
            (Made(|| vec![b'['; 100_000]), ":1: expected JSON, found recursion limit exceeded"),
            (Made(|| b"{\"a\": \"\xff\"}".to_vec()), "config.json .. UTF-8"),
            (Text("[]"), ": expected a configuration of bert, found"),
            (Text("{}"), ": expected a configuration of bert, found missing field `vocab_size`"),
            (Text("null"), ": expected a configuration of bert, found"),
            (
                Edit("\"bert\"", "\"gpt2\""),
                ": expected model_type bert, roberta, xlm-roberta, camembert, distilbert, electra, found \"gpt2\"",
            ),
            (
                Edit("\"bert\"", "\"\\u001b[2J\\n\""),
                ": expected model_type bert, roberta, xlm-roberta, camembert, distilbert, electra, found",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 0"),
                ": expected vocab_size from 1 to 1048576, found 0",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": -10"),
                "expected a configuration of bert, found invalid value: integer `-10`",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": \"10\""),
                "expected a configuration of bert, found invalid type: string",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 10.5"),
                "expected a configuration of bert, found invalid type: floating point `10.5`",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 18446744073709551615"),
                "expected vocab_size from 1 to 1048576, found 18446744073709551615",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 99999999999999999999999"),
                "expected a configuration of bert, found invalid type: floating point",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 9"),
                "run/model: expected at most 9 tokens, as the model has embeddings, found 10 \
                 (hint: the tokenizer must belong to the checkpoint)",
            ),
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 11"),
                "model.safetensors: expected tensor bert.embeddings.word_embeddings.weight of \
                 shape [11, 4], found shape [10, 4] (hint: config.json and the weights belong \
                 together)",
            ),
            (
                Edit("\"hidden_size\": 4", "\"hidden_size\": 1048576"),
                "expected sizes that make at most 4000000000 parameters, found",
            ),
            (
                Edit("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 257"),
                "expected num_hidden_layers from 1 to 256, found 257",
            ),
            (
                Edit("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2"),
                "model.safetensors: expected a tensor bert.encoder.layer.1 .. found none of \
                 that name",
            ),
            (
                Edit("\"num_attention_heads\": 2", "\"num_attention_heads\": 3"),
                "expected a hidden_size that num_attention_heads divides, found 4 and 3",
            ),
            (
                Edit("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": NaN"),
                ":3: expected JSON, found",
            ),
            (
                Edit("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1e400"),
                ":3: expected JSON, found number out of range",
            ),
            (
                Edit("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": \"small\""),
                "expected a configuration of bert, found invalid type: string",
            ),
            (
                Edit("\"gelu\"", "\"relu6\""),
                ": expected hidden_act gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish, tanh, \
                 found \"relu6\" (hint: other variants",
            ),
            (Edit("\"gelu\"", "[\"gelu\"]"), "swish, tanh, found [\"gelu\"]"),
            (
                Edit("\"max_position_embeddings\": 16", "\"max_position_embeddings\": 1"),
                "model.safetensors: expected tensor bert.embeddings.position_embeddings.weight \
                 of shape [1, 4], found shape [16, 4]",
            ),
            (
                Edit("\"pad_token_id\": 0", "\"is_decoder\": true"),
                ": expected is_decoder false, found true (hint: other variants of these encoders are not \
                 supported)",
            ),
            (
                Planted(remove),
                ": cannot read: No such file or directory .. (hint: name a run or a folder with a model; \
                 platon download --model OWNER/NAME brings one from Hugging Face, and platon list \
                 shows the runs)",
            ),
            (Planted(folder_instead), ": cannot read: Is a directory"),
            (Planted(loop_instead), ": cannot read: Too many levels of symbolic links"),
        ],
    );
    refuse(
        EVALUATE,
        CONFIG,
        Made(|| br#"{"a":"#.repeat(100_000)),
        ":1: expected JSON, found recursion limit exceeded",
    );
    refuses(
        TRAIN,
        CONFIG,
        &[
            (
                Edit("\"vocab_size\": 10", "\"vocab_size\": 11"),
                "model.safetensors: expected tensor bert.embeddings.word_embeddings.weight of \
                 shape [11, 4], found shape [10, 4]",
            ),
            (
                Edit("\"max_position_embeddings\": 16", "\"max_position_embeddings\": 4"),
                "max_position_embeddings: expected training samples of at most 4 tokens, found \
                 8 samples, all of them longer",
            ),
        ],
    );
}
