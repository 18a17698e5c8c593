//! The encoder of Devlin et al. (2019), post-norm, with the classification head of DESIGN's
//! original: first token -> dropout -> dense + tanh -> dropout -> dense.

use burn::module::{Module, Param};
use burn::nn::{
    Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig,
    Linear, LinearConfig,
};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use super::config::BertConfig;
use crate::kernels::{ModelKernels, SeededDropout};
use crate::seed::mix;

/// Scores of padding positions before the softmax: far below any real score, so that their
/// probability is exactly zero in f32, yet finite, so that a row of padding yields no NaN.
const MASKED_SCORE: f64 = -1e9;

/// What a classifier needs beyond the encoder's own configuration.
#[derive(Debug, Clone)]
pub struct ClassifierConfig {
    /// The encoder.
    pub bert: BertConfig,
    /// Number of outputs: classes, or 1 for regression.
    pub outputs: usize,
    /// Dropout inside the encoder (embeddings, attention, feed-forward).
    pub bert_dropout: f64,
    /// Dropout around the head's first dense layer: before it as in the encoder, after it the task's.
    pub head_dropout: f64,
}

/// Word, position and segment embeddings, summed and normalised.
#[derive(Module, Debug)]
pub struct Embeddings<B: Backend> {
    word_embeddings: Embedding<B>,
    position_embeddings: Embedding<B>,
    token_type_embeddings: Embedding<B>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
}

/// Multi-head self-attention with its output projection.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
    heads: usize,
    epsilon: f64,
}

/// One encoder layer: attention, then feed-forward, each with dropout, residual and LayerNorm.
#[derive(Module, Debug)]
pub struct Layer<B: Backend> {
    attention: Attention<B>,
    intermediate: Linear<B>,
    output: Linear<B>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
    epsilon: f64,
}

/// The encoder.
#[derive(Module, Debug)]
pub struct Bert<B: Backend> {
    embeddings: Embeddings<B>,
    encoder: Vec<Layer<B>>,
}

/// The encoder with its classification (or regression) head.
#[derive(Module, Debug)]
pub struct BertClassifier<B: Backend> {
    bert: Bert<B>,
    input_dropout: Dropout,
    pooler: Linear<B>,
    output_dropout: Dropout,
    classifier: Linear<B>,
}

impl ClassifierConfig {
    /// A freshly initialised classifier: encoder weights from N(0, initializer_range), biases
    /// zero; the head as PyTorch's `nn.Linear`, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too.
    /// Drawn from the backend's generator: seed it first.
    pub fn init<B: Backend>(&self, device: &B::Device) -> BertClassifier<B> {
        let bert = &self.bert;
        let hidden = bert.hidden_size;
        let dropout = || DropoutConfig::new(self.bert_dropout).init();
        let normal = Initializer::Normal { mean: 0.0, std: bert.initializer_range };
        let norm = || LayerNormConfig::new(hidden).with_epsilon(bert.layer_norm_eps).init(device);
        let embedding = |n: usize| {
            EmbeddingConfig::new(n, hidden).with_initializer(normal.clone()).init(device)
        };
        let linear = |input: usize, output: usize| {
            let mut linear: Linear<B> =
                LinearConfig::new(input, output).with_initializer(normal.clone()).init(device);
            linear.bias = Some(Param::from_tensor(Tensor::zeros([output], device)));
            linear
        };
        let layer = || Layer {
            attention: Attention {
                query: linear(hidden, hidden),
                key: linear(hidden, hidden),
                value: linear(hidden, hidden),
                output: linear(hidden, hidden),
                layer_norm: norm(),
                dropout: dropout(),
                heads: bert.num_attention_heads,
                epsilon: bert.layer_norm_eps,
            },
            intermediate: linear(hidden, bert.intermediate_size),
            output: linear(bert.intermediate_size, hidden),
            layer_norm: norm(),
            dropout: dropout(),
            epsilon: bert.layer_norm_eps,
        };
        let model = BertClassifier {
            bert: Bert {
                embeddings: Embeddings {
                    word_embeddings: embedding(bert.vocab_size),
                    position_embeddings: embedding(bert.max_position_embeddings),
                    token_type_embeddings: embedding(bert.type_vocab_size),
                    layer_norm: norm(),
                    dropout: dropout(),
                },
                encoder: (0..bert.num_hidden_layers).map(|_| layer()).collect(),
            },
            input_dropout: dropout(),
            pooler: LinearConfig::new(hidden, hidden).init(device),
            output_dropout: DropoutConfig::new(self.head_dropout).init(),
            classifier: LinearConfig::new(hidden, self.outputs).init(device),
        };
        // burn draws parameters when they are first used; drawing them here, in the order of the
        // modules, makes the initial weights depend on the seed alone.
        model.map(&mut DrawNow)
    }
}

struct DrawNow;

impl<B: Backend> burn::module::ModuleMapper<B> for DrawNow {}

impl<B: ModelKernels> BertClassifier<B> {
    /// Class scores (logits), or the regression value.
    ///
    /// # Shapes
    /// - `token_ids`, `type_ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`, 1 for tokens and 0 for padding
    /// - output: `[batch, outputs]`
    ///
    /// `noise` seeds the dropout of an update; without it nothing is dropped between the layers.
    pub fn forward(
        &self,
        token_ids: Tensor<B, 2, Int>,
        type_ids: Tensor<B, 2, Int>,
        mask: Tensor<B, 2>,
        noise: Option<u64>,
    ) -> Tensor<B, 2> {
        let [batch, _] = token_ids.dims();
        let hidden = self.bert.forward(token_ids, type_ids, mask, noise);
        let [_, _, width] = hidden.dims();
        let first = hidden.slice([0..batch, 0..1]).reshape([batch, width]); // [batch, hidden]
        let pooled = tanh(self.pooler.forward(self.input_dropout.forward(first)));
        self.classifier.forward(self.output_dropout.forward(pooled))
    }

    /// The encoder alone.
    pub fn encoder(&self) -> &Bert<B> {
        &self.bert
    }
}

impl<B: ModelKernels> Bert<B> {
    /// The last layer's vectors.
    ///
    /// # Shapes
    /// - `token_ids`, `type_ids`, `mask`: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    pub fn forward(
        &self,
        token_ids: Tensor<B, 2, Int>,
        type_ids: Tensor<B, 2, Int>,
        mask: Tensor<B, 2>,
        noise: Option<u64>,
    ) -> Tensor<B, 3> {
        let [batch, tokens] = token_ids.dims();
        let bias = mask.sub_scalar(1.0).mul_scalar(-MASKED_SCORE); // 0 for tokens
        let bias = bias.reshape([batch, 1, 1, tokens]);
        let hidden = self.embeddings.forward(token_ids, type_ids);
        let [_, _, width] = hidden.dims();
        // One row per token: burn would multiply a batch of matrices sequence by sequence.
        let hidden = hidden.reshape([batch * tokens, width]);
        let hidden = self.encoder.iter().zip(0..).fold(hidden, |hidden, (layer, n)| {
            // Two places per layer: after attention, after feed-forward.
            let seeds = noise.map(|noise| [mix(noise, 2 * n), mix(noise, 2 * n + 1)]);
            layer.forward(hidden, bias.clone(), seeds)
        });
        hidden.reshape([batch, tokens, width])
    }
}

impl<B: Backend> Embeddings<B> {
    /// # Shapes
    /// - `token_ids`, `type_ids`: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    fn forward(&self, token_ids: Tensor<B, 2, Int>, type_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let [_, tokens] = token_ids.dims();
        let positions = Tensor::arange(0..tokens as i64, &token_ids.device()).unsqueeze(); // [1, tokens]
        let sum = self.word_embeddings.forward(token_ids)
            + self.token_type_embeddings.forward(type_ids)
            + self.position_embeddings.forward(positions);
        self.dropout.forward(self.layer_norm.forward(sum))
    }
}

impl<B: ModelKernels> Attention<B> {
    /// # Shapes
    /// - `hidden`: `[batch * tokens, hidden]`
    /// - `bias`: `[batch, 1, 1, tokens]`, added to the scores
    /// - output: as `hidden`
    fn forward(
        &self,
        hidden: Tensor<B, 2>,
        bias: Tensor<B, 4>,
        dropout: Option<SeededDropout>,
    ) -> Tensor<B, 2> {
        let [rows, width] = hidden.dims();
        let [batch, _, _, tokens] = bias.dims();
        let head = width / self.heads;
        let split = |linear: &Linear<B>, x: Tensor<B, 2>| {
            linear.forward(x).reshape([batch, tokens, self.heads, head]).swap_dims(1, 2) // [batch, heads, tokens, head]
        };
        let query = split(&self.query, hidden.clone()).div_scalar((head as f64).sqrt());
        let key = split(&self.key, hidden.clone());
        let value = split(&self.value, hidden.clone());

        let scores = query.matmul(key.transpose()) + bias; // [batch, heads, tokens, tokens]
        let weights = self.dropout.forward(softmax(scores, 3));
        let context = weights.matmul(value).swap_dims(1, 2).reshape([rows, width]);
        let output = self.output.forward(context);
        add_norm(&self.layer_norm, self.epsilon, output, hidden, dropout)
    }
}

impl<B: ModelKernels> Layer<B> {
    /// # Shapes
    /// As [`Attention::forward`].
    fn forward(
        &self,
        hidden: Tensor<B, 2>,
        bias: Tensor<B, 4>,
        seeds: Option<[u64; 2]>,
    ) -> Tensor<B, 2> {
        let dropout = |seed| SeededDropout { rate: self.dropout.prob, seed };
        let (first, second) = seeds.map(|[a, b]| (dropout(a), dropout(b))).unzip();
        let hidden = self.attention.forward(hidden, bias, first);
        let inner = B::exact_gelu(self.intermediate.forward(hidden.clone()));
        let output = self.output.forward(inner);
        add_norm(&self.layer_norm, self.epsilon, output, hidden, second)
    }
}

/// LayerNorm(dropout(x) + residual), `[rows, width]`.
fn add_norm<B: ModelKernels>(
    norm: &LayerNorm<B>,
    epsilon: f64,
    x: Tensor<B, 2>,
    residual: Tensor<B, 2>,
    dropout: Option<SeededDropout>,
) -> Tensor<B, 2> {
    let gamma = norm.gamma.val();
    let beta = norm.beta.as_ref().map_or_else(|| gamma.zeros_like(), |beta| beta.val());
    B::dropout_add_norm(x, residual, gamma, beta, epsilon, dropout)
}
