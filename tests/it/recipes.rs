//! The recipes in the repository: all resolve, hold the published values, and fit their data.

use std::path::Path;

use platon::config::{Layer, RunConfig};
use platon::glue::updates::{Updates, UpdatesConfig, one_bin};
use platon::pruning::Pruner;

use crate::dir::Dir;

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
    let (batch_size, epochs) = (config.optimisation().batch_size, config.optimisation().epochs);
    let updates = UpdatesConfig { epochs, ..UpdatesConfig::default() };
    let updates = Updates::new(one_bin(rows, batch_size), updates).total();
    assert_eq!(config.pruning().pruner, Pruner::Platon, "without one, every schedule would fit");
    config.ratio_schedule(updates).unwrap();
}

#[test]
fn published_recipes_hold_the_published_values_and_fit_their_data() {
    for (name, rows, ratio, steps, warmups, beta2, batches, rate, epochs, seed, every) in PUBLISHED
    {
        let c = recipe(name);
        assert_eq!(c.data().task, name.split('-').next().unwrap());
        assert_eq!(
            (c.pruning().initial_threshold, c.pruning().final_threshold),
            (Some(1.0), ratio),
            "{name}"
        );
        assert_eq!(
            (c.pruning().warmup_steps, (c.pruning().initial_warmup, c.pruning().final_warmup)),
            (steps, warmups),
            "{name}"
        );
        assert_eq!(
            (c.pruning().beta1, c.pruning().beta2, c.pruning().delta_t),
            (0.85, beta2, 10),
            "{name}"
        );
        assert_eq!((c.optimisation().batch_size, c.logging().batch_size_eval), batches, "{name}");
        assert_eq!(
            (c.optimisation().learning_rate, c.optimisation().epochs, c.optimisation().seed),
            (rate, epochs, seed),
            "{name}"
        );
        let (log, evaluate) = (c.logging().log_per_updates, c.logging().eval_per_updates);
        assert_eq!((log, evaluate), (every.0, Some(every.1)), "{name}");
        assert_eq!(c.model().dropout_p, if name == "cola" { 0.05 } else { 0.1 }, "{name}");
        fits(&c, rows);
    }
}

#[test]
fn our_own_recipes_fit_their_data() {
    fits(&recipe("demo"), 9000);
    fits(&recipe("wnli"), 635);
}

#[test]
fn recipes_and_the_demo_are_in_the_program() {
    let dir = Dir::new();
    let names = dir.platon_ok("recipe").stdout;
    let names: Vec<_> = names.lines().collect();
    assert_eq!((names.len(), names[..4].join(" ")), (15, "cola defaults demo mnli".to_string()));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in names {
        let text = std::fs::read_to_string(repository.join(format!("recipes/{name}.toml")));
        assert_eq!(dir.platon_ok(&format!("recipe {name}")).stdout, text.unwrap());
    }
    let flags = "--no-tui --output-dir run --max-steps 1 --backend ndarray";
    let ended = dir.platon_ok(&format!("train demo {flags}"));
    assert!(ended.stderr.contains("glue-data/demo: the demo's data was made"), "{}", ended.stderr);
    for file in ["train.tsv", "dev.tsv", "model/vocab.txt", "model/config.json"] {
        let name = format!("glue-data/demo/{file}");
        assert_eq!(dir.read(&name), std::fs::read_to_string(repository.join(&name)).unwrap());
    }

    // What is on the disk goes before.
    dir.write("recipes/demo.toml", "task = \"demo\"\nepochs = 77\n");
    assert_eq!(dir.platon_ok("recipe demo").stdout, "task = \"demo\"\nepochs = 77\n");
    let rows = dir.read("glue-data/demo/train.tsv").lines().take(65).collect::<Vec<_>>().join("\n");
    std::fs::remove_dir_all(dir.path("glue-data")).unwrap();
    dir.write("glue-data/demo/train.tsv", &(rows.clone() + "\n"));
    dir.platon_ok("prepare demo --tokenizer glue-data/demo/model");
    assert_eq!(dir.read("glue-data/demo/train.tsv"), rows + "\n");
}
