//! `platon` prunes BERT and encoders like it while they are fine-tuned, on the GLUE benchmark or on
//! files of one's own.
//!
//! It reproduces PLATON (Zhang et al., "PLATON: Pruning Large Transformer Models with Upper
//! Confidence Bound of Weight Importance", ICML 2022, <https://arxiv.org/abs/2206.12562>) on burn.
//! From the paper to the code:
//!
//! | paper | here |
//! |---|---|
//! | sensitivity, equation 4: `I = abs(w * g)`; its smoothing and uncertainty, equations 6 to 8 | [`pruning::criterion::platon`]; their arithmetic: [`kernels::UpdateKernels::observe`] |
//! | score `S = I * U`, equation 9 | [`pruning::criterion::platon`] |
//! | global threshold, equation 3 | [`kernels::UpdateKernels::kth_smallest`], its rank in [`pruning::threshold`] |
//! | algorithm 1 | [`pruning::optimizer`] |
//! | cubic schedule of the remaining ratio, equation 10 | [`pruning::schedule`] |
//! | fine-tuning on GLUE, section 4 | [`train`], [`glue`], [`bert`] |
//! | what pruning is for, and the paper leaves open: a faster model | [`sparse`] |

pub mod activation;
pub mod backend;
pub mod bert;
pub mod cli;
pub mod config;
pub mod download;
pub mod error;
pub mod export;
pub mod files;
pub mod glue;
pub mod infer;
pub mod kernels;
pub mod machine;
pub mod metrics;
pub mod optim;
pub mod overview;
pub mod panics;
pub mod pruning;
pub mod report;
pub mod run;
pub mod seed;
#[cfg(feature = "serve")]
pub mod serve;
pub mod sparse;
pub mod submission;
pub mod tensorboard;
pub mod torch;
pub mod train;
pub mod world;
pub mod zipped;
