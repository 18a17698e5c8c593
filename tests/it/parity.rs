//! The model against `transformers`.
//!
//! Expected arrays: `tests/fixtures/tiny_bert.py` and `tests/fixtures/minilm.py`.

use std::collections::HashMap;
use std::path::Path;

use burn::backend::Autodiff;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use platon::bert::family::BERT;
use platon::bert::weights::{self, Parts, Tensors};
use platon::bert::{BertClassifier, Checkpoint, ClassifierConfig, Family, HeadConfig, Pass};
use platon::glue::batch::{Batch, Filling};
use platon::glue::sample::Sample;
use platon::glue::tsv::Label;
use platon::infer::forward;
use platon::kernels::operands::TokenIds;
use platon::kernels::{LayerKernels, ModelKernels, Queries, Sequences, Zeros};

use crate::backends::{allowed, alone_with_random_numbers, on_every_backend};
use crate::fixtures::{Array, distance, external, fixture, read};

on_every_backend!(
    outputs_equal_those_of_transformers,
    gradients_equal_those_of_transformers,
    a_batch_is_answered_by_its_head,
    old_names_load_and_what_is_left_over_is_named,
    a_missing_or_misshapen_tensor_is_named,
    saved_weights_load_bit_for_bit,
    a_real_checkpoint_gives_the_outputs_of_transformers,
);

fn load<B: ModelKernels>(dir: &Path, outputs: usize, parts: Parts) -> BertClassifier<B> {
    let device = B::Device::default();
    let net = fresh::<B>(dir, outputs);
    let tensors = Checkpoint::open(dir).unwrap().into_tensors().unwrap();
    weights::load(net, tensors, parts, &device).unwrap().model
}

fn tensors(path: &Path) -> Tensors {
    Tensors::from_safetensors(&BERT, path, &std::fs::read(path).unwrap()).unwrap()
}

fn fresh<B: ModelKernels>(dir: &Path, outputs: usize) -> BertClassifier<B> {
    let bert = Checkpoint::open(dir).unwrap().config;
    let heads = vec![HeadConfig { outputs, dropout: 0.0 }];
    let config = ClassifierConfig { bert, bert_dropout: 0.0, heads };
    let _alone = alone_with_random_numbers();
    config.init(&B::Device::default())
}

/// The arrays as a batch, packed or padded.
fn inputs<B: Backend>(
    arrays: &HashMap<String, Array>,
    filling: Filling,
) -> (TokenIds<B>, Sequences) {
    let [ids, types, mask] =
        ["input_ids", "token_type_ids", "attention_mask"].map(|name| &arrays[name]);
    let samples: Vec<Sample> = (0..ids.shape[0])
        .map(|n| Sample {
            uid: n.to_string(),
            label: Label::Class(0),
            token_id: ids.row(n).iter().map(|v| *v as u32).collect(),
            type_id: types.row(n).iter().map(|v| *v as u8).collect(),
            attention_mask: mask.row(n).iter().map(|v| *v as u8).collect(),
            softlabel: Vec::new(),
        })
        .collect();
    forward::inputs(Batch::new(samples.iter(), filling, &B::Device::default())).0
}

const FILLINGS: [Filling; 2] = [Filling::Packed, Filling::Padded];

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().unwrap()
}

/// The largest difference of the last layer at the positions that are not padding.
fn hidden_distance<B: ModelKernels>(
    net: &BertClassifier<B>,
    arrays: &HashMap<String, Array>,
    filling: Filling,
) -> f32 {
    let (ids, sequences) = inputs::<B>(arrays, filling);
    let got = net.encoder().forward(ids, &sequences, Queries::All, Pass::answers(Zeros::Multiply));
    let [_, width] = got.dims();
    let (got, expected) = (values(got), arrays["last_hidden_state"].f32());
    let tokens = arrays["attention_mask"].shape[1];
    let mut largest = 0.0f32;
    for (n, (span, length)) in sequences.spans().zip(sequences.lengths()).enumerate() {
        let (got, expected) = (&got[span.start * width..], &expected[n * tokens * width..]);
        let size = length * width;
        largest = largest.max(distance(&got[..size], &expected[..size]));
    }
    largest
}

fn outputs_equal_those_of_transformers<B: LayerKernels + ModelKernels>() {
    outputs_agree::<B>(&fixture("tiny_bert"));
}

/// Compares a classifier with three outputs in `dir` with the arrays beside it.
pub fn outputs_agree<B: LayerKernels + ModelKernels>(dir: &Path) {
    let (arrays, _) = read(&dir.join("expected.safetensors"));
    let net = load::<B>(dir, 3, Parts::All);
    for filling in FILLINGS {
        let hidden = hidden_distance(&net, &arrays, filling);
        let (ids, sequences) = inputs::<B>(&arrays, filling);
        let logits = values(net.forward(ids, &sequences, 0, Pass::answers(Zeros::Multiply)));
        let logits = distance(&logits, &arrays["logits"].f32());
        let what = format!("{}, {filling:?}", dir.display());
        assert!(hidden < allowed::<B>(1e-5), "last hidden state differs by {hidden}: {what}");
        assert!(logits < allowed::<B>(1e-5), "logits differ by {logits}: {what}");
    }
}

fn gradients_equal_those_of_transformers<B: LayerKernels + ModelKernels>() {
    assert_eq!(gradients_agree::<B>(&fixture("tiny_bert")), 6);
}

/// Compares the gradients of a classifier with three outputs in `dir` with the arrays beside it; how
/// many there were.
pub fn gradients_agree<B: LayerKernels + ModelKernels>(dir: &Path) -> usize {
    let (arrays, _) = read(&dir.join("expected.safetensors"));
    let net = load::<Autodiff<B>>(dir, 3, Parts::All);
    let family = Checkpoint::open(dir).unwrap().config.family;
    let mut compared = 0;
    let labels: Vec<i64> = arrays["labels"].values.iter().map(|v| *v as i64).collect();
    let n = labels.len();
    let device = B::Device::default();
    let labels = Tensor::<_, 1, Int>::from_data(TensorData::new(labels, [n]), &device);
    for filling in FILLINGS {
        let (ids, sequences) = inputs::<Autodiff<B>>(&arrays, filling);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(
            net.forward(ids, &sequences, 0, Pass::answers(Zeros::Multiply)),
            labels.clone(),
        );
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let found = named_gradients::<B>(family, &net, &grads);
        compared = 0;
        for (name, expected) in &arrays {
            let Some(name) = name.strip_prefix("grad.") else { continue };
            let difference = distance(&found[name].values, &expected.f32());
            assert!(
                difference < allowed::<B>(1e-5),
                "gradient of {name} differs by {difference}, {filling:?}, {}",
                dir.display()
            );
            assert_eq!(found[name].shape, expected.shape, "{name}");
            compared += 1;
        }
    }
    compared
}

/// Gradients under Hugging Face names, as `weights::collect` would lay them out.
fn named_gradients<B: Backend>(
    family: &'static Family,
    net: &BertClassifier<Autodiff<B>>,
    grads: &GradientsParams,
) -> std::collections::BTreeMap<String, weights::StoredTensor> {
    struct Replace<'a>(&'a GradientsParams);
    impl<B: Backend> burn::module::ModuleMapper<Autodiff<B>> for Replace<'_> {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<Autodiff<B>, D>>,
        ) -> burn::module::Param<Tensor<Autodiff<B>, D>> {
            let (id, tensor, mapper) = param.consume();
            let grad =
                self.0.get::<B, D>(id).map_or_else(|| tensor.zeros_like(), Tensor::from_inner);
            burn::module::Param::from_mapped_value(id, grad, mapper)
        }
    }
    weights::collect(family, &burn::module::Module::map(net.clone(), &mut Replace(grads))).unwrap()
}

fn a_batch_is_answered_by_its_head<B: LayerKernels + ModelKernels>() {
    let device = B::Device::default();
    let sample = |n: u32| Sample {
        uid: n.to_string(),
        label: Label::Class(1),
        token_id: vec![5 + n, 7, 9],
        type_id: vec![0; 3],
        attention_mask: vec![1; 3],
        softlabel: Vec::new(),
    };
    let samples: Vec<Sample> = (0..2).map(sample).collect();
    let logits = |outputs: &[usize], head| {
        let bert = Checkpoint::open(&fixture("tiny_bert")).unwrap().config;
        let heads = outputs.iter().map(|n| HeadConfig { outputs: *n, dropout: 0.0 }).collect();
        let net: BertClassifier<B> = {
            let _alone = alone_with_random_numbers();
            B::seed(&device, 5);
            ClassifierConfig { bert, bert_dropout: 0.0, heads }.init(&device)
        };
        let batch = Batch::new(samples.iter(), Filling::Packed, &device);
        forward::infer(&net, Batch { head, ..batch }, Zeros::Multiply).read().logits
    };
    let (first, second) = (logits(&[2, 3], 0), logits(&[2, 3], 1));
    assert_eq!((first.len(), second.len()), (2 * 2, 2 * 3));
    assert_eq!(first, logits(&[2], 0), "another head changes neither encoder nor first head");
    assert!(second.iter().all(|logit| logit.is_finite()));
    assert!(logits(&[2, 3], 2).iter().all(|logit| logit.is_nan()), "a head that is not there");
}

fn old_names_load_and_what_is_left_over_is_named<B: LayerKernels + ModelKernels>() {
    let dir = fixture("tiny_bert");
    let (arrays, _) = read(&dir.join("expected.safetensors"));
    let device = B::Device::default();
    let file = dir.join("old_names.safetensors");
    let loaded =
        weights::load(fresh::<B>(&dir, 3), tensors(&file), Parts::Encoder, &device).unwrap();
    assert!(hidden_distance(&loaded.model, &arrays, Filling::Packed) < allowed::<B>(1e-5));
    assert_eq!(
        loaded.unused,
        [
            "bert.pooler.dense.bias",
            "bert.pooler.dense.weight",
            "cls.predictions.bias",
            "embeddings.position_ids"
        ]
    );
}

fn a_missing_or_misshapen_tensor_is_named<B: LayerKernels + ModelKernels>() {
    let dir = fixture("tiny_bert");
    let device = B::Device::default();
    let error = |outputs, file: &str| {
        weights::load(fresh::<B>(&dir, outputs), tensors(&dir.join(file)), Parts::All, &device)
            .unwrap_err()
            .to_string()
    };
    let missing = error(3, "old_names.safetensors");
    assert!(missing.contains("expected a tensor classifier.weight, found none"), "{missing}");
    let misshapen = error(2, "model.safetensors");
    assert!(
        misshapen.contains("tensor classifier.weight of shape [2, 32], found shape [3, 32]"),
        "{misshapen}"
    );
    let text = dir.join("vocab.txt");
    let foreign = Tensors::from_safetensors(&BERT, &text, &std::fs::read(&text).unwrap());
    let foreign = foreign.unwrap_err().to_string();
    assert!(foreign.contains("expected a safetensors file"), "{foreign}");
}

fn saved_weights_load_bit_for_bit<B: LayerKernels + ModelKernels>() {
    let dir = fixture("tiny_bert");
    let before = weights::collect(&BERT, &load::<B>(&dir, 3, Parts::All)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(&before, &path).unwrap();
    let loaded =
        weights::load(fresh::<B>(&dir, 3), tensors(&path), Parts::All, &B::Device::default())
            .unwrap();
    assert!(loaded.unused.is_empty());
    let after = weights::collect(&BERT, &loaded.model).unwrap();
    let (original, _) = read(&dir.join("model.safetensors"));
    assert_eq!(after.len(), before.len());
    for (name, tensor) in after {
        assert_eq!(tensor.values, before[&name].values, "{name}");
        assert_eq!(tensor.values, original[&name].f32(), "{name} differs from the original file");
        assert_eq!(tensor.shape, original[&name].shape, "{name}");
    }
}

fn a_real_checkpoint_gives_the_outputs_of_transformers<B: LayerKernels + ModelKernels>() {
    let test = "a_real_checkpoint_gives_the_outputs_of_transformers";
    let Some(dir) = external("PLATON_CHECKPOINT_DIR", test) else { return };
    let (arrays, _) = read(&fixture("minilm/expected.safetensors"));
    let net = load::<B>(&dir, 2, Parts::Encoder);
    for filling in FILLINGS {
        let difference = hidden_distance(&net, &arrays, filling);
        assert!(
            difference < allowed::<B>(1e-5),
            "last hidden state differs by {difference}, {filling:?}"
        );
    }
}
