//! Hostile recipes and `config.toml` of runs.

use super::{
    Bytes, EVALUATE, Edit, Made, Planted, RECIPE, TRAIN, Text, folder_instead, refuse, refuses,
};

const CONFIG: &str = "run/config.toml";
const TASK: &str = "task = \"rte\"";

/// The settings with one more line.
macro_rules! add {
    ($line:literal) => {
        Edit("task = \"rte\"", concat!("task = \"rte\"\n", $line))
    };
}
pub(super) use add;

#[test]
fn recipes() {
    refuses(
        TRAIN,
        RECIPE,
        &[
            (Text("task = \"rte"), ":1: expected TOML, found"),
            (Bytes(b"task = \"\xff\"\n"), "recipes/rte.toml .. UTF-8"),
            (Bytes(b"\0\0\0\0"), ":1: expected TOML, found"),
            (
                Made(|| [&b"task = "[..], &b"[".repeat(100_000)].concat()),
                ":1: expected TOML, found",
            ),
            (
                Made(|| [&b"task = "[..], &b"{a=".repeat(100_000)].concat()),
                ":1: expected TOML, found",
            ),
            (
                Made(|| [&b"a"[..], &b".a".repeat(100_000), b" = 1"].concat()),
                ": expected TOML, found recursion limit",
            ),
            (
                Made(|| [&b"[a"[..], &b".a".repeat(100_000), b"]"].concat()),
                ": expected TOML, found recursion limit",
            ),
            (
                add!("colour = \"red\""),
                ": expected a known setting, found \"colour\" (hint: the settings are",
            ),
            (
                Edit("epochs = 4", "[table]\nepochs = 4"),
                ": expected a known setting, found \"table\"",
            ),
            (add!("task = \"sst\""), ":2: expected TOML, found duplicate key"),
            (add!("epochs.a = 1"), "recipes/rte.toml"),
            (
                Edit("epochs = 4", "epochs = \"4\""),
                ": expected a valid epochs, found \"4\" (invalid type: string",
            ),
            (
                Edit("epochs = 4", "epochs = 4.0"),
                ": expected a valid epochs, found 4.0 (invalid type: floating point",
            ),
            (
                Edit("epochs = 4", "epochs = -4"),
                ": expected a valid epochs, found -4 (invalid value: integer `-4`",
            ),
            (Edit("epochs = 4", "epochs = 99999999999999999999"), ":10: expected TOML, found"),
            (
                Edit("epochs = 4", "epochs = 9223372036854775807"),
                "epochs: expected at most 100000000 updates, found 9223372036854775807 epochs \
                 of 2 batches",
            ),
            (Edit("epochs = 4", "epochs = 0"), "epochs: expected at least 1, found 0"),
            (Edit("batch_size = 4", "batch_size = -1"), ": expected a valid batch_size, found -1"),
            (Edit("delta_t = 1", "delta_t = 0"), "delta_t: expected at least 1, found 0"),
            (
                add!("learning_rate = 1e400"),
                ":2: expected TOML, found floating-point number overflowed",
            ),
            (add!("learning_rate = inf"), "learning_rate: expected a positive number, found inf"),
            (add!("learning_rate = nan"), "learning_rate: expected a positive number, found NaN"),
            (
                add!("weight_decay = -inf"),
                "weight_decay: expected 0 or a positive number, found -inf",
            ),
            (
                add!("bin_grow_ratio = 1e400"),
                ":2: expected TOML, found floating-point number overflowed",
            ),
            (add!("warmup = nan"), "warmup: expected a number in [0, 1), found NaN"),
            (add!("dropout_p = 1.0"), "dropout_p: expected a number in [0, 1), found 1"),
            (
                Edit("final_threshold = 0.5", "final_threshold = nan"),
                "final_threshold: expected a remaining ratio in (0, 1], found NaN",
            ),
            (
                Edit("final_threshold = 0.5", "final_threshold = 0.5\ninitial_threshold = 0.2"),
                "threshold: expected",
            ),
            (Edit("warmup_steps = 1", "warmup_steps = 4"), "(1 + 1) * 4 = 8: the ratio would jump"),
            (
                Edit("warmup_steps = 1", "warmup_steps = 9223372036854775807"),
                "pruning would never start",
            ),
            (
                Edit("initial_warmup = 1", "initial_warmup = 9223372036854775807"),
                "pruning would never start",
            ),
            (
                Edit(
                    "warmup_steps = 1\ninitial_warmup = 1",
                    "warmup_steps = 9223372036854775807\ninitial_warmup = 9223372036854775807",
                ),
                "pruning would never start",
            ),
            (
                Edit("final_warmup = 1", "final_warmup = 9223372036854775807"),
                "the ratio would jump",
            ),
            (
                add!("num_hidden_layers = 9223372036854775807"),
                "num_hidden_layers: expected at most the checkpoint's 1, found \
                 9223372036854775807",
            ),
            (
                add!("num_hidden_layers = -2"),
                "num_hidden_layers: expected -1 for all, or at least 1, found -2",
            ),
            (add!("seed = -1"), ": expected a valid seed, found -1"),
            (
                add!("log_file = \"../../passwd\""),
                "log_file: expected a name inside the run folder, found \"../../passwd\"",
            ),
            (
                add!("log_file = \"/tmp/passwd\""),
                "log_file: expected a name inside the run folder, found \"/tmp/passwd\"",
            ),
            (
                add!("log_file = \"\""),
                "log_file: expected a name inside the run folder, found \"\"",
            ),
            (
                add!("tensorboard_logdir = \"..\""),
                "tensorboard_logdir: expected a name inside the run folder, found \"..\"",
            ),
            (
                add!("tensorboard_logdir = \"a/b\""),
                "tensorboard_logdir: expected a name inside the run folder, found \"a/b\"",
            ),
            (Edit(TASK, "task = \"chess\""), "task: expected one of cola, .. found chess"),
            (
                Edit(TASK, "task = [\"rte\"]"),
                ": expected a valid task, found [\"rte\"] (invalid type: sequence",
            ),
            (add!("pruner = \"best\""), ": expected a valid pruner, found \"best\""),
            (
                add!("test_datasets = [\"mnli\"]"),
                "test_datasets: expected data sets of rte: rte, found mnli",
            ),
            (add!("test_datasets = \"rte\""), ": expected a valid test_datasets, found \"rte\""),
            (
                add!("format = 999"),
                ": expected format 1, found 999 (hint: this file belongs to another version of \
                 platon)",
            ),
            (Planted(folder_instead), "error: recipes/rte.toml: cannot read: Is a directory"),
        ],
    );
}

#[test]
fn configurations_of_runs() {
    refuses(
        EVALUATE,
        CONFIG,
        &[
            (Text("task ="), ":1: expected TOML, found"),
            (Edit(TASK, "task = \"stsb\""), "glue-data/STS-B/dev.tsv: cannot read"),
            (add!("colour = 1"), ": expected a known setting, found \"colour\""),
            (
                add!("data_dir = \"nowhere\""),
                "nowhere/RTE/dev.tsv: cannot read: No such file or directory",
            ),
            (Planted(folder_instead), ": cannot read: Is a directory"),
        ],
    );
    refuse(
        "evaluate run --task mnli",
        CONFIG,
        Edit(TASK, "task = \"rte\""),
        "task: expected a task with the labels of rte, which the model has, found mnli",
    );
    refuse(
        "evaluate run --backend abacus",
        CONFIG,
        Edit(TASK, "task = \"rte\""),
        "command line: expected a valid backend, found \"abacus\"",
    );
    refuses(
        "submit run",
        CONFIG,
        &[
            (Text("task = \"demo\""), "run: expected a run of one of GLUE's tasks: .. found demo"),
            (
                Edit(TASK, "task = \"chess\""),
                "task: expected one of cola, sst, mrpc, stsb, qqp, mnli",
            ),
            (Made(|| vec![b'['; 100_000]), ":1: expected TOML, found"),
            (Edit("epochs = 4", "epochs = -4"), ": expected a valid epochs, found -4"),
        ],
    );
}
