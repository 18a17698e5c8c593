# Shortcuts for the commands in README.md and docs; flags go through as they stand.

set positional-arguments

# List the shortcuts
[private]
default:
    @{{ just_executable() }} --list

# Fine-tune and prune on a task: `just train mnli --keep-ratio 0.10`
train TASK *FLAGS:
    cargo run --release -- train "$@"

# Train with N processes on this machine: `just train-nodes 4 mnli`
train-nodes N TASK *FLAGS:
    #!/bin/sh
    set -eu
    # Ranks divide the cores themselves; Ctrl-C leaves them time to save.
    n=$1; shift
    cargo build --release --features mpi
    exec mpirun --quiet --bind-to none --mca odls_base_sigkill_timeout 120 -n "$n" \
        "${CARGO_TARGET_DIR:-target}/release/platon" train "$@"

# Look at a file of your own before it is learnt from: `just data reviews.csv --text review --label mood`
data FILE *FLAGS:
    cargo run --release -- data "$@"

# Go on with a run that was stopped or killed: `just resume checkpoints/runs/mnli-platon-0.2`
resume RUN *FLAGS:
    cargo run --release -- resume "$@"

# Encode raw GLUE files: `just prepare rte --tokenizer checkpoints/bert-base-uncased`
prepare *FLAGS:
    cargo run --release -- prepare "$@"

# List the runs below a folder: `just list checkpoints/runs`
list *FLAGS:
    cargo run --release -- list "$@"

# Put runs side by side: `just compare checkpoints/runs/*`
compare +RUNS:
    cargo run --release -- compare "$@"

# Write the page of a run, or one that compares several: `just report checkpoints/runs/mnli-platon-0.2`
report +RUNS:
    cargo run --release -- report "$@"

# Score the saved model of a run: `just evaluate checkpoints/runs/mnli-platon-0.2`
evaluate RUN *FLAGS:
    cargo run --release -- evaluate "$@"

# Labels or scores for texts of your own: `just predict checkpoints/runs/rte-platon-0.2 --input pairs.tsv`
predict RUN *FLAGS:
    cargo run --release -- predict "$@"

# Answer over HTTP: `just serve checkpoints/runs/rte-platon-0.2 --port 8000`
serve *FLAGS:
    cargo run --release -- serve "$@"

# Make the GLUE server's archive, of one run per task: `just submit checkpoints/runs/rte-platon-0.2`
submit +RUNS:
    cargo run --release -- submit "$@"

# Bring official files and models: `just download mrpc --model bert-base-uncased`
download *FLAGS:
    cargo run --release -- download "$@"

# Train and prune the demo: nothing to download
demo *FLAGS:
    cargo run --release -- train demo "$@"

# Run all tests, or those named: `just test schedule`
test *FLAGS:
    cargo test --release "$@"

# Run the tests named after an edit, compiling what changed only, and quickly: `just quick train`
quick *FLAGS:
    cargo test --release --config profile.release.incremental=true \
        --config profile.release.package.platon.codegen-units=256 \
        --config profile.release.package.platon.opt-level=1 "$@"

# Train the runs of a table, one after the other, and make the table: `just results --checkpoint checkpoints/minilm`
results *FLAGS:
    python3 benches/results.py "$@"

# Fuzz the readers of foreign files, a minute each, or one for longer: `just fuzz pickle 600`
fuzz TARGETS="tsv jsonl sparse manifest pickle" SECONDS="60":
    #!/bin/sh
    set -eu
    # Needs `cargo install cargo-fuzz`, which wants compiler flags that only nightly takes unasked.
    export RUSTC_BOOTSTRAP=1
    # The libraries' versions are the program's.
    cp Cargo.lock fuzz/
    for target in $1; do
        mkdir -p "fuzz/found/$target"
        # What is new goes to the first folder; the second is the one in git.
        cargo fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
            "-dict=fuzz/$target.dict" "-max_total_time=$2" -max_len=6000 -timeout=10 \
            -rss_limit_mb=1024 -malloc_limit_mb=128
    done

# Check formatting, lints and documentation
check:
    cargo fmt --all --check
    cargo clippy --release --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

# Time the hot paths of the code, or those named (`platon bench` times a model): `just bench threshold`
bench *FLAGS:
    cargo bench "$@"

# Race against PyTorch: `just race stsb --checkpoint checkpoints/bert-base-uncased`
race *FLAGS:
    python3 benches/race.py "$@"

# See what works on a machine with an NVIDIA GPU, and how fast: `just gpu-check --data-dir glue-data`
gpu-check *FLAGS:
    python3 benches/gpu_check.py "$@"

# Load the server and compare it: `just bench-serve checkpoints/runs/stsb-platon-0.1 --pairs pairs.tsv`
bench-serve RUN *FLAGS:
    python3 benches/serve_load.py "$@"

# Race answers against PyTorch and ONNX Runtime: `just race-inference stsb --model checkpoints/runs/stsb-platon-0.1`
race-inference *FLAGS:
    python3 benches/race_inference.py "$@"
