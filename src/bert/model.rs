//! The encoder of Devlin et al. (2019), post-norm, with a head for each task. The families that
//! resemble it are computed here too: they differ by what their configuration says.

use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::config::BertConfig;
use super::head::{Head, HeadConfig};
use super::pass::{Pass, Place, dense, linear, norm};
use crate::activation::Activation;
use crate::kernels::operands::{Heads, Setup, Tables, TokenIds};
use crate::kernels::{ModelKernels, Queries, Sequences};

/// What a classifier needs beyond the encoder's own configuration.
#[derive(Debug, Clone)]
pub struct ClassifierConfig {
    /// The encoder.
    pub bert: BertConfig,
    /// Dropout inside the encoder (embeddings, attention, feed-forward), and between it and a head.
    pub bert_dropout: f64,
    /// A head for each task; none where only the encoder is used.
    pub heads: Vec<HeadConfig>,
}

/// Word, position and segment embeddings, summed and normalised; brought to the layers' width where
/// they have another.
#[derive(Module, Debug)]
pub struct Embeddings<B: Backend> {
    word_embeddings: Embedding<B>,
    position_embeddings: Embedding<B>,
    token_type_embeddings: Option<Embedding<B>>,
    layer_norm: LayerNorm<B>,
    projection: Option<Linear<B>>,
    dropout: f64,
    epsilon: f64,
    /// Of a sequence's first token.
    #[module(skip)]
    first_position: usize,
}

/// Multi-head self-attention with its output projection.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    layer_norm: LayerNorm<B>,
    heads: usize,
    dropout: f64,
    epsilon: f64,
    /// Of the output.
    #[module(skip)]
    output_dropout: f64,
}

/// One encoder layer: attention, then feed-forward, each with dropout, residual and LayerNorm.
#[derive(Module, Debug)]
pub struct Layer<B: Backend> {
    attention: Attention<B>,
    intermediate: Linear<B>,
    output: Linear<B>,
    layer_norm: LayerNorm<B>,
    dropout: f64,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

/// The encoder.
#[derive(Module, Debug)]
pub struct Bert<B: Backend> {
    embeddings: Embeddings<B>,
    encoder: Vec<Layer<B>>,
}

/// The encoder with a head for each task; the heads have their dense layer in common.
#[derive(Module, Debug)]
pub struct BertClassifier<B: Backend> {
    bert: Bert<B>,
    heads: Vec<Head<B>>,
}

impl ClassifierConfig {
    /// A freshly initialised classifier: encoder weights from N(0, initializer_range), biases
    /// zero; the heads as PyTorch's `nn.Linear`, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too.
    /// Drawn from the backend's generator, the encoder first: seed it first.
    pub fn init<B: Backend>(&self, device: &B::Device) -> BertClassifier<B> {
        let bert = &self.bert;
        let hidden = bert.hidden_size;
        let normal = Initializer::Normal { mean: 0.0, std: bert.initializer_range };
        let norm_of = |width: usize| {
            LayerNormConfig::new(width).with_epsilon(bert.layer_norm_eps).init(device)
        };
        let norm = || norm_of(hidden);
        let width = bert.embedding_width();
        let embedding =
            |n: usize| EmbeddingConfig::new(n, width).with_initializer(normal.clone()).init(device);
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
                dropout: self.bert_dropout,
                heads: bert.num_attention_heads,
                epsilon: bert.layer_norm_eps,
                output_dropout: match bert.family.drops_attention_output {
                    true => self.bert_dropout,
                    false => 0.0,
                },
            },
            intermediate: linear(hidden, bert.intermediate_size),
            output: linear(bert.intermediate_size, hidden),
            layer_norm: norm(),
            dropout: self.bert_dropout,
            epsilon: bert.layer_norm_eps,
            activation: bert.hidden_act,
        };
        let model = BertClassifier {
            bert: Bert {
                embeddings: Embeddings {
                    word_embeddings: embedding(bert.vocab_size),
                    position_embeddings: embedding(bert.max_position_embeddings),
                    token_type_embeddings: (bert.type_vocab_size > 0)
                        .then(|| embedding(bert.type_vocab_size)),
                    layer_norm: norm_of(width),
                    projection: bert.embedding_size.map(|width| linear(width, hidden)),
                    dropout: self.bert_dropout,
                    epsilon: bert.layer_norm_eps,
                    first_position: bert.first_position(),
                },
                encoder: (0..bert.num_hidden_layers).map(|_| layer()).collect(),
            },
            heads: self
                .heads
                .iter()
                .enumerate()
                .map(|(n, head)| {
                    head.init(n == 0, bert.family.head, hidden, self.bert_dropout, device)
                })
                .collect(),
        };
        // burn draws parameters when they are first used; drawing them here, in the order of the
        // modules, makes the initial weights depend on the seed alone.
        model.map(&mut DrawNow)
    }
}

struct DrawNow;

impl<B: Backend> burn::module::ModuleMapper<B> for DrawNow {}

impl<B: Backend> BertClassifier<B> {
    /// The same with one head alone; without any where there is no such head.
    #[must_use]
    pub fn with_head(&self, head: usize) -> Self {
        let heads = self.heads.first().zip(self.heads.get(head));
        let heads = heads.map(|(leading, head)| head.beside(leading)).into_iter().collect();
        Self { bert: self.bert.clone(), heads }
    }
}

impl<B: ModelKernels> BertClassifier<B> {
    /// Class scores (logits) of the head numbered `head`, or its regression value; without a number
    /// in them (NaN) where there is no such head.
    ///
    /// # Shapes
    /// - `ids`: `[rows]` each, one row per token as `sequences` lays them out
    /// - output: `[batch, outputs]`
    pub fn forward(
        &self,
        ids: TokenIds<B>,
        sequences: &Sequences,
        head: usize,
        pass: Pass,
    ) -> Tensor<B, 2> {
        self.forward_seen(ids, sequences, head, pass, |_| ())
    }

    /// The same; `see` is shown the vectors of the embeddings and those of each layer, the last
    /// one's of first tokens alone.
    ///
    /// # Shapes
    /// As of [`forward`](Self::forward); `see`: `[rows, hidden]`, at last `[batch, hidden]`
    pub fn forward_seen(
        &self,
        ids: TokenIds<B>,
        sequences: &Sequences,
        head: usize,
        pass: Pass,
        see: impl FnMut(&Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        let embedded = self.bert.embeddings.forward(ids, pass);
        self.answer(embedded, sequences, head, pass, see)
    }

    /// The same with these word vectors instead of those of the table.
    ///
    /// # Shapes
    /// - `words`: `[rows, embedding width]`
    /// - `ids`, output: as of [`forward`](Self::forward)
    pub fn forward_words(
        &self,
        words: Tensor<B, 2>,
        ids: TokenIds<B>,
        sequences: &Sequences,
        head: usize,
        pass: Pass,
    ) -> Tensor<B, 2> {
        let embedded = self.bert.embeddings.forward_words(words, ids, pass);
        self.answer(embedded, sequences, head, pass, |_| ())
    }

    /// The word vectors of these tokens: `[rows, embedding width]`.
    pub fn words(&self, ids: &TokenIds<B>) -> Tensor<B, 2> {
        self.bert.embeddings.word_embeddings.weight.val().select(0, ids.word.clone())
    }

    /// # Shapes
    /// - `embedded`: `[rows, hidden]`
    /// - output: `[batch, outputs]`
    fn answer(
        &self,
        embedded: Tensor<B, 2>,
        sequences: &Sequences,
        head: usize,
        pass: Pass,
        see: impl FnMut(&Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        // [batch, hidden]
        let first = self.bert.encode(embedded, sequences, Queries::First, pass, see);
        match (self.heads.first(), self.heads.get(head)) {
            (Some(leading), Some(head)) => head.forward(leading, first, pass),
            // Nobody takes it for an answer, and as a loss it ends a run.
            _ => first.mul_scalar(f64::NAN),
        }
    }

    /// The encoder alone.
    pub fn encoder(&self) -> &Bert<B> {
        &self.bert
    }
}

impl<B: ModelKernels> Bert<B> {
    /// The last layer's vectors, of all tokens or of each sequence's first. The others' are then
    /// not computed: in that layer only their keys and values are needed.
    ///
    /// # Shapes
    /// - `ids`: `[rows]` each
    /// - output: `[rows, hidden]` or `[batch, hidden]`
    pub fn forward(
        &self,
        ids: TokenIds<B>,
        sequences: &Sequences,
        wanted: Queries,
        pass: Pass,
    ) -> Tensor<B, 2> {
        self.encode(self.embeddings.forward(ids, pass), sequences, wanted, pass, |_| ())
    }

    /// The same of tokens that are embedded already; `see` is shown them and each layer's vectors.
    ///
    /// # Shapes
    /// - `hidden`: `[rows, hidden]`
    /// - output: `[rows, hidden]` or `[batch, hidden]`
    fn encode(
        &self,
        mut hidden: Tensor<B, 2>,
        sequences: &Sequences,
        wanted: Queries,
        pass: Pass,
        mut see: impl FnMut(&Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        see(&hidden);
        let last = self.encoder.len().saturating_sub(1);
        for (n, layer) in self.encoder.iter().enumerate() {
            let wanted = if n == last { wanted } else { Queries::All };
            hidden = layer.forward(hidden, sequences, wanted, n, pass);
            see(&hidden);
        }
        hidden
    }
}

/// The rows of the wanted tokens.
///
/// # Shapes
/// - `hidden`: `[rows, hidden]`
/// - output: the same, or `[batch, hidden]`
fn select<B: Backend>(
    hidden: Tensor<B, 2>,
    sequences: &Sequences,
    wanted: Queries,
) -> Tensor<B, 2> {
    if wanted == Queries::All {
        return hidden;
    }
    let firsts: Vec<i64> = sequences.firsts().map(|row| row as i64).collect();
    let firsts = TensorData::new(firsts, [sequences.batch()]);
    let firsts = Tensor::from_data(firsts, &hidden.device());
    hidden.select(0, firsts)
}

impl<B: ModelKernels> Embeddings<B> {
    /// # Shapes
    /// - `ids`: `[rows]` each
    /// - output: `[rows, hidden]`
    fn forward(&self, ids: TokenIds<B>, pass: Pass) -> Tensor<B, 2> {
        self.sum(self.word_embeddings.weight.val(), ids, pass)
    }

    /// # Shapes
    /// As [`BertClassifier::forward_words`].
    fn forward_words(&self, words: Tensor<B, 2>, ids: TokenIds<B>, pass: Pass) -> Tensor<B, 2> {
        let (rows, device) = (words.dims()[0] as i64, words.device());
        self.sum(words, TokenIds::<B> { word: Tensor::arange(0..rows, &device), ..ids }, pass)
    }

    /// # Shapes
    /// - `word`: the vectors that the ids of words stand for
    /// - output: `[rows, hidden]`
    fn sum(&self, word: Tensor<B, 2>, mut ids: TokenIds<B>, pass: Pass) -> Tensor<B, 2> {
        let segment = match &self.token_type_embeddings {
            Some(table) => table.weight.val(),
            // All are of the one type that adds nothing.
            None => Tensor::zeros([1, word.dims()[1]], &word.device()),
        };
        let tables = Tables { word, position: self.position_embeddings.weight.val(), segment };
        if self.first_position > 0 {
            ids.position = ids.position.add_scalar(self.first_position as i64);
        }
        let norm = norm(&self.layer_norm, self.epsilon);
        let dropout = pass.dropout(Place::Embeddings, self.dropout);
        let hidden = B::embed(tables, ids, norm, dropout);
        match &self.projection {
            Some(projection) => linear(projection, hidden, pass),
            None => hidden,
        }
    }
}

impl<B: ModelKernels> Attention<B> {
    /// # Shapes
    /// - `hidden`: `[rows, hidden]`
    /// - output: `[rows, hidden]`, or `[batch, hidden]` where only first tokens are wanted
    fn forward(
        &self,
        hidden: Tensor<B, 2>,
        sequences: &Sequences,
        wanted: Queries,
        layer: usize,
        pass: Pass,
    ) -> Tensor<B, 2> {
        let asking = select(hidden.clone(), sequences, wanted);
        let inputs = Heads {
            query: linear(&self.query, asking.clone(), pass),
            key: linear(&self.key, hidden.clone(), pass),
            value: linear(&self.value, hidden, pass),
        };
        let dropout = pass.dropout(Place::Attention(layer), self.dropout);
        let precision = pass.precision();
        let setup = Setup { heads: self.heads, queries: wanted, dropout, precision };
        let context = B::self_attention(inputs, sequences, setup);
        let dropout = pass.dropout(Place::AfterAttention(layer), self.output_dropout);
        let norm = norm(&self.layer_norm, self.epsilon);
        B::dropout_add_norm(linear(&self.output, context, pass), asking, norm, dropout)
    }
}

impl<B: ModelKernels> Layer<B> {
    /// # Shapes
    /// As [`Attention::forward`].
    fn forward(
        &self,
        hidden: Tensor<B, 2>,
        sequences: &Sequences,
        wanted: Queries,
        layer: usize,
        pass: Pass,
    ) -> Tensor<B, 2> {
        let hidden = self.attention.forward(hidden, sequences, wanted, layer, pass);
        let intermediate = dense(&self.intermediate, pass);
        let inner = B::dense_activated(hidden.clone(), intermediate, self.activation);
        let dropout = pass.dropout(Place::AfterFeedForward(layer), self.dropout);
        let norm = norm(&self.layer_norm, self.epsilon);
        B::dropout_add_norm(linear(&self.output, inner, pass), hidden, norm, dropout)
    }
}
