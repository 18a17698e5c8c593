//! The recipes in the repository: all resolve, hold the published values, and fit their data.

use std::path::Path;

use platon::config::{Layer, RunConfig};
use platon::glue::updates::{Updates, UpdatesConfig, one_bin};
use platon::pruning::Pruner;

fn recipe(name: &str) -> RunConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{name}.toml"));
    RunConfig::resolve(&[Layer::from_file(&path).unwrap()]).unwrap()
}

/// Recipe, training rows of the official files; then the table of the original's recipes: final
/// ratio, warmup_steps, initial and final warm-up, beta2, batch sizes, learning rate, epochs, seed,
/// updates between logs and evaluations.
type Published = (
    &'static str,
    usize,
    f64,
    usize,
    (usize, usize),
    f64,
    (usize, usize),
    f64,
    usize,
    u64,
    (usize, usize),
);

const PUBLISHED: [Published; 12] = [
    ("mnli", 392_702, 0.20, 5400, (1, 5), 0.95, (32, 256), 8e-5, 8, 7, (100, 6000)),
    ("mnli-0.15", 392_702, 0.15, 5400, (1, 5), 0.90, (32, 256), 8e-5, 8, 7, (100, 6000)),
    ("mnli-0.10", 392_702, 0.10, 5400, (1, 5), 0.85, (32, 256), 8e-5, 8, 7, (100, 6000)),
    ("rte", 2490, 0.20, 200, (1, 6), 0.95, (16, 128), 1e-4, 20, 8, (10, 100)),
    ("rte-0.15", 2490, 0.15, 200, (1, 6), 0.65, (16, 128), 1e-4, 20, 8, (10, 100)),
    ("rte-0.10", 2490, 0.10, 200, (1, 6), 0.95, (16, 128), 1e-4, 20, 8, (10, 100)),
    ("qqp", 363_846, 0.20, 5400, (1, 5), 0.85, (32, 128), 1e-4, 10, 9, (100, 3000)),
    ("sst", 67_349, 0.10, 1000, (1, 5), 0.85, (32, 256), 8e-5, 6, 8, (100, 500)),
    ("qnli", 104_743, 0.10, 2000, (1, 6), 0.90, (32, 512), 1e-4, 10, 9, (100, 1000)),
    ("stsb", 5749, 0.10, 500, (1, 5), 0.85, (16, 512), 1e-4, 15, 9, (100, 500)),
    ("mrpc", 3667, 0.10, 300, (1, 3), 0.95, (8, 512), 1e-4, 10, 9, (100, 500)),
    ("cola", 8551, 0.10, 500, (1, 3), 0.95, (32, 512), 1e-4, 15, 9, (100, 500)),
];

fn fits(config: &RunConfig, rows: usize) {
    let (batch_size, epochs) = (config.batch_size, config.epochs);
    let updates = UpdatesConfig { batch_size, epochs, ..UpdatesConfig::default() };
    let updates = Updates::new(one_bin(rows), updates).total();
    assert_eq!(config.pruner, Pruner::Platon, "without one, every schedule would fit");
    config.ratio_schedule(updates).unwrap();
}

#[test]
fn published_recipes_hold_the_published_values_and_fit_their_data() {
    for (name, rows, ratio, steps, warmups, beta2, batches, rate, epochs, seed, every) in PUBLISHED
    {
        let c = recipe(name);
        assert_eq!(c.task, name.split('-').next().unwrap());
        assert_eq!((c.initial_threshold, c.final_threshold), (1.0, ratio), "{name}");
        assert_eq!(
            (c.warmup_steps, (c.initial_warmup, c.final_warmup)),
            (steps, warmups),
            "{name}"
        );
        assert_eq!((c.beta1, c.beta2, c.delta_t), (0.85, beta2, 10), "{name}");
        assert_eq!((c.batch_size, c.batch_size_eval), batches, "{name}");
        assert_eq!((c.learning_rate, c.epochs, c.seed), (rate, epochs, seed), "{name}");
        assert_eq!((c.log_per_updates, c.eval_per_updates), every, "{name}");
        assert_eq!(c.dropout_p, if name == "cola" { 0.05 } else { 0.1 }, "{name}");
        fits(&c, rows);
    }
}

#[test]
fn our_own_recipes_fit_their_data() {
    fits(&recipe("demo"), 9000);
    fits(&recipe("wnli"), 635);
}
