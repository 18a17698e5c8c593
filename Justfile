# Shortcuts for the commands in README.md; flags go through as they stand.

set positional-arguments

# List the shortcuts
[private]
default:
    @{{ just_executable() }} --list

# Fine-tune and prune on a task: `just train mnli --keep-ratio 0.10`
train TASK *FLAGS:
    cargo run --release -- train "$@"

# Go on with a run that was stopped or killed: `just resume checkpoints/runs/mnli-platon-0.2`
resume RUN *FLAGS:
    cargo run --release -- resume "$@"

# Encode raw GLUE files: `just prepare rte --tokenizer checkpoints/bert-base-uncased`
prepare *FLAGS:
    cargo run --release -- prepare "$@"

# Score the saved model of a run: `just evaluate checkpoints/runs/mnli-platon-0.2`
evaluate RUN *FLAGS:
    cargo run --release -- evaluate "$@"

# Labels or scores for texts of your own: `just predict checkpoints/runs/rte-platon-0.2 --input pairs.tsv`
predict RUN *FLAGS:
    cargo run --release -- predict "$@"

# Make the GLUE server's archive: `just submit checkpoints/runs/*`
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

# Check formatting, lints and documentation
check:
    cargo fmt --all --check
    cargo clippy --release --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

# Time the hot paths, or those named: `just bench threshold`
bench *FLAGS:
    cargo bench "$@"

# Race against PyTorch: `just race stsb --checkpoint checkpoints/bert-base-uncased`
race *FLAGS:
    python3 benches/race.py "$@"
