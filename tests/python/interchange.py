#!/usr/bin/env python3
"""Proves that platon and Hugging Face's transformers read each other's models, TensorBoard its logs.

    python interchange.py --platon PROGRAM --run RUN --sentences FILE.tsv [--labels a,b,c] [--tensorboard]

RUN is the folder of a finished run. FILE.tsv has no header and one row per line: a text, or two with a
tab between them. The first 500 rows that need no truncation are used. In order:

1. RUN/model loads in transformers without missing or unexpected weights, with the given labels.
   Its logits there and those of `platon predict` differ by 1e-4 at most, on every row, with the dense
   engine and with the sparse one; likewise the scores. The labels that platon names are those of the largest logits.
2. The same for a model of the same sizes that never was platon's: random weights, saved by
   transformers as safetensors; and saved by PyTorch as pytorch_model.bin and converted by
   `platon convert`.
3. `platon export --format sparse`, converted back or read by read_sparse.py, gives every weight of
   RUN/model bit for bit; with --dtype f16 and bf16, as PyTorch rounds it.
4. With --tensorboard: TensorBoard's own reader finds in RUN/tensorboard_logdir what stands in
   RUN/metrics.jsonl: train/loss, Prune/ratio and Prune/threshold at every update of the split
   `train`, and metrics of every dev set SET_dev as Dev/SET/METRIC at every evaluation. Values agree to
   1e-6, relatively, and the steps of every tag ascend.

Prints a line per check. Ends with status 1 and one line at the first that fails. Needs the packages in
requirements.txt and nothing from the network; writes to a temporary folder only.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROWS = 500
MOST_TOKENS = 128  # longer rows are left out: truncation is not what is compared
TOLERANCE = 1e-4  # absolute, of logits and scores
LOG_TOLERANCE = 1e-6  # relative: the logs of TensorBoard are float32
SMALLEST_FLOAT = 2.0**-126  # below it float32 has fewer digits
LEAST_SPREAD = 0.01  # of a random model's logits; if they did not vary, nothing would be compared
COMMAND_SECONDS = 600
SAVED = "model.safetensors"
METRICS = ("ACC", "F1", "MCC", "Pearson", "Spearman")


class Failure(Exception):
    """What ends the program, in one line."""


@contextlib.contextmanager
def during(what):
    """Names what was being done when one of the libraries gives up on a file."""
    try:
        yield
    except (Failure, ImportError):
        raise
    except Exception as error:
        first = (str(error).splitlines() or ["without a word"])[0]
        raise Failure(f"{what}: {type(error).__name__}: {first}") from error


def passed(check, figure):
    print(f"ok  {check}: {figure}", flush=True)


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--platon", required=True, type=pathlib.Path, metavar="PROGRAM", help="the program under test")
    p.add_argument("--run", required=True, type=pathlib.Path, metavar="RUN", help="folder of a finished run")
    p.add_argument("--sentences", required=True, type=pathlib.Path, metavar="FILE.tsv")
    p.add_argument("--labels", metavar="A,B,C", help="the task's labels, in order")
    p.add_argument("--tensorboard", action="store_true", help="check the run's TensorBoard logs too")
    return p.parse_args()


def platon(program, *arguments):
    """Standard output of the program."""
    command = [str(program.resolve()), *map(str, arguments)]
    shown = " ".join(["platon", *command[1:]])
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"{shown}: not finished after {COMMAND_SECONDS} s") from None
    if done.returncode != 0:
        raise Failure(f"{shown}: status {done.returncode}, {last_line(done.stderr)}")
    return done.stdout


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "without a word"


# Sentences.


def read_rows(path, tokenizer, config):
    """(text, text or None) of each row, what the tokenizer makes of it, and how many were too long."""
    limit = min(MOST_TOKENS, config.max_position_embeddings)
    rows, encoded, too_long = [], [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        fields = line.rstrip("\r").split("\t")
        if fields == [""]:
            continue
        if len(fields) > 2:
            raise Failure(f"{path}:{number}: {len(fields)} fields, expected one text or two")
        row = (fields[0], fields[1] if len(fields) == 2 and fields[1] else None)
        inputs = tokenizer(*row)
        if len(inputs["input_ids"]) > limit:
            too_long += 1
            continue
        rows.append(row)
        encoded.append(inputs)
        if len(rows) == ROWS:
            break
    if not rows:
        raise Failure(f"{path}: no row of {limit} tokens or less")
    return rows, encoded, too_long


def write_rows(path, rows):
    lines = ["\t".join(text for text in row if text is not None) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


# Logits.


def logits_of(model, tokenizer, encoded, batch=16):
    import torch

    parts = []
    with torch.inference_mode():
        for first in range(0, len(encoded), batch):
            inputs = tokenizer.pad(encoded[first : first + batch], return_tensors="pt")
            parts.append(model(**inputs).logits.float())
    return torch.cat(parts).double().numpy()


def scores_of(logits):
    """Probabilities; of a regression, the value itself."""
    import numpy

    if logits.shape[1] == 1:
        return logits
    powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predictions(program, folder, sentences, rows, engine="auto"):
    arguments = ("--input", sentences, "--json", "--engine", engine)
    lines = platon(program, "predict", folder, *arguments).splitlines()
    if len(lines) != rows:
        raise Failure(f"platon predict {folder}: {len(lines)} lines for {rows} rows")
    parsed = []
    for number, line in enumerate(lines):
        try:
            prediction = json.loads(line)
        except ValueError:
            prediction = None
        if not isinstance(prediction, dict):
            raise Failure(f"platon predict {folder}: line {number + 1} is not a JSON object: {line[:80]}")
        parsed.append(prediction)
    return parsed


def floats(prediction, key, count):
    values = prediction.get(key)
    if not isinstance(values, list) or len(values) != count:
        raise Failure(f"row {prediction.get('index')}: {key} is {values}, expected {count} numbers")
    return [math.nan if value is None else float(value) for value in values]


def agreement(check, expected, predicted, names):
    """Compares what platon predicted with transformers' logits."""
    import numpy

    count = expected.shape[1]
    largest = {}
    for key, wanted in (("logits", expected), ("scores", scores_of(expected))):
        found = numpy.array([floats(prediction, key, count) for prediction in predicted])
        difference = numpy.abs(found - wanted)
        bad = ~(difference <= TOLERANCE)  # NaN too
        if bad.any():
            row, place = numpy.argwhere(bad)[0]
            raise Failure(
                f"{check}: {bad.any(axis=1).sum()} of {len(wanted)} rows differ, first row {row}: {key}[{place}] is "
                f"{found[row, place]:.7g} in platon, {wanted[row, place]:.7g} in transformers"
            )
        largest[key] = difference.max()
    for row, prediction in enumerate(predicted):
        if prediction.get("index") != str(row):
            raise Failure(f"{check}: row {row} has the index {prediction.get('index')!r}")
        if count > 1:
            named(check, row, prediction, expected[row], names)
    passed(
        check,
        f"largest difference {largest['logits']:.1e} of logits between {expected.min():.3f} and "
        f"{expected.max():.3f}, {largest['scores']:.1e} of scores, {len(predicted)} rows",
    )


def named(check, row, prediction, logits, names):
    """The label must be the largest logit's, or tie with it, and have the name that the model gives it."""
    label = prediction.get("label")
    if type(label) is not int or not 0 <= label < len(names) or logits[label] < logits.max() - 2 * TOLERANCE:
        raise Failure(f"{check}: row {row} is labelled {label!r}, transformers says {logits.argmax()}")
    if prediction.get("prediction") != names[label]:
        raise Failure(f"{check}: row {row} is {prediction.get('prediction')!r}, label {label} is {names[label]!r}")


# Models.


def load(folder, labels):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    for what, names in info.items():
        if names:
            raise Failure(f"{folder} in transformers: {what.replace('_', ' ')}: {str(sorted(map(str, names)))[:300]}")
    names = label_names(model.config)
    if labels is not None and names != labels.split(","):
        raise Failure(f"{folder}: the labels are {','.join(names)}, expected {labels}")
    passed(
        "transformers loads the run's model",
        f"{len(model.state_dict())} tensors, none missing or unexpected; labels {', '.join(names)}"
        + ("" if labels is None else ", as expected"),
    )
    return model.eval(), tokenizer


def label_names(config):
    return [config.id2label[i] for i in range(config.num_labels)]


def random_model(config):
    """A model of the same sizes whose every weight matters: transformers' own initial ones are so
    small that its logits would hardly depend on the words."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            n = torch.randn(parameter.shape, generator=generator)
            if re.search(r"(LayerNorm|layer_norm)\.weight$", name):
                parameter.copy_(1 + 0.2 * n)
            elif parameter.dim() == 1:
                parameter.copy_(0.2 * n)
            elif "embeddings" in name:
                parameter.copy_(0.3 * n)
            else:
                parameter.copy_(n / parameter.shape[1] ** 0.5)
    return model


def run_model(program, run, sentences, labels, temporary):
    """Check 1. Returns the rows, encoded, for the next."""
    model, tokenizer = load(run / "model", labels)
    rows, encoded, too_long = read_rows(sentences, tokenizer, model.config)
    used = temporary / "sentences.tsv"
    write_rows(used, rows)
    left_out = f" ({too_long} long rows left out)" if too_long else ""
    expected = logits_of(model, tokenizer, encoded)
    for engine in ("dense", "sparse"):
        predicted = predictions(program, run, used, len(rows), engine)
        check = f"platon's model, {engine}, in transformers{left_out}"
        agreement(check, expected, predicted, label_names(model.config))
    return used, encoded


def foreign_models(program, run, used, encoded, temporary):
    """Check 2."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(run / "model")
    model = random_model(config)
    names = label_names(config)
    as_safetensors, as_pickle, converted = (temporary / name for name in ("safetensors", "pickle", "converted"))
    # Loaded anew: what was encoded before leaves its settings in the tokenizer.
    for folder in (as_safetensors, as_pickle):
        AutoTokenizer.from_pretrained(run / "model").save_pretrained(folder)
    expected = logits_of(model, AutoTokenizer.from_pretrained(as_safetensors), encoded)
    spread = expected.std(axis=0).min()
    if not spread >= LEAST_SPREAD:
        raise Failure(f"a random model's logits vary by {spread:.1e} only, which proves nothing: take other sentences")

    model.save_pretrained(as_safetensors)
    if not (as_safetensors / SAVED).is_file():
        raise Failure(f"transformers saved no {SAVED}: this program is made for models of one file")
    predicted = predictions(program, as_safetensors, used, len(encoded))
    agreement("transformers' safetensors in platon", expected, predicted, names)

    model.config.save_pretrained(as_pickle)
    torch.save(model.state_dict(), as_pickle / "pytorch_model.bin")
    platon(program, "convert", as_pickle, converted)
    predicted = predictions(program, converted, used, len(encoded))
    agreement("pytorch_model.bin, converted by platon", expected, predicted, names)


def same_bits(what, wanted, found):
    if odd := sorted(wanted.keys() ^ found.keys()):
        side = "lost" if odd[0] in wanted else "added"
        raise Failure(f"{what}: tensor {odd[0]} was {side}, {len(odd)} such in all")
    for name, a in wanted.items():
        b = found[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            raise Failure(f"{what}: {name} is {b.dtype}{b.shape}, was {a.dtype}{a.shape}")
        if a.tobytes() != b.tobytes():
            raise Failure(f"{what}: {name} is not the same bit for bit")


def sparse_export(program, run, temporary):
    """Check 3."""
    from safetensors.numpy import load_file

    sparse, dense, read = temporary / "sparse.safetensors", temporary / "dense", temporary / "read.safetensors"
    platon(program, "export", run, "--format", "sparse", "--output", sparse)
    platon(program, "convert", sparse, dense)
    reader = pathlib.Path(__file__).with_name("read_sparse.py")
    subprocess.run([sys.executable, reader, sparse, read], check=True, timeout=COMMAND_SECONDS)
    original = run / "model" / SAVED
    wanted = load_file(original)
    same_bits("the sparse export, converted back", wanted, load_file(dense / SAVED))
    same_bits("the sparse export, read by read_sparse.py", wanted, load_file(read))
    share = 100 * sparse.stat().st_size / original.stat().st_size
    zeros = 100 * sum((a == 0).sum() for a in wanted.values()) / sum(a.size for a in wanted.values())
    passed(
        "the sparse export, converted back",
        f"{len(wanted)} tensors equal bit for bit; the file has {share:.1f} % of the model's bytes, "
        f"{zeros:.1f} % of the weights are zero",
    )
    for dtype in ("f16", "bf16"):
        sparse, dense = temporary / f"{dtype}.safetensors", temporary / dtype
        platon(program, "export", run, "--format", "sparse", "--dtype", dtype, "--output", sparse)
        platon(program, "convert", sparse, dense)
        subprocess.run([sys.executable, reader, sparse, read], check=True, timeout=COMMAND_SECONDS)
        wanted = rounded(original, dtype)
        what = f"the sparse export in {dtype}"
        same_bits(f"{what}, converted back", wanted, load_file(dense / SAVED))
        same_bits(f"{what}, read by read_sparse.py", wanted, load_file(read))
        share = 100 * sparse.stat().st_size / original.stat().st_size
        passed(what, f"as PyTorch rounds; the file has {share:.1f} % of the model's bytes")


def rounded(path, dtype):
    """The tensors of a file as PyTorch rounds them to 16 bits, widened again, without zeros' signs."""
    import torch
    from safetensors.torch import load_file

    kind = {"f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    return {name: (a.to(kind).to(torch.float32) + 0.0).numpy() for name, a in load_file(path).items()}


# TensorBoard.


def tensorboard(run):
    """Check 4."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "tensorboard_logdir"
    if not folder.is_dir():
        raise Failure(f"{folder}: no such folder")
    log = EventAccumulator(str(folder), size_guidance={"scalars": 0})  # all of them
    log.Reload()
    points = {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}
    for tag, values in points.items():
        for (before, _), (after, _) in zip(values, values[1:]):
            if before >= after:
                raise Failure(f"TensorBoard: {tag} has step {after} after step {before}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    splits = {}
    for row in rows:
        splits.setdefault(row["split"], []).append(row)
    train = splits.pop("train", [])
    if not train or not splits:
        raise Failure(f"{run / 'metrics.jsonl'}: it has {len(train)} rows of the training and {len(splits)} dev sets")

    compared = [same_values(points, "train/loss", train, train, "loss")]
    for field in ("ratio", "threshold"):
        # An evaluation repeats what the masking before it left, and may be logged.
        compared.append(same_values(points, f"Prune/{field}", train, rows, field))
    tags = 0
    for split, dev in splits.items():
        prefix = f"Dev/{split.removesuffix('_dev')}"  # as the original has it
        metrics = [name for name in METRICS if f"{prefix}/{name}" in points]
        if not metrics:
            raise Failure(f"TensorBoard: no tag {prefix}/METRIC, METRIC being one of {', '.join(METRICS)}")
        tags += len(metrics)
        compared += [same_values(points, f"{prefix}/{name}", dev, dev, name) for name in metrics]
    passed(
        "TensorBoard reads the run's logs",
        f"{sum(n for n, _ in compared)} values of {3 + tags} tags, {tags} of them of {', '.join(splits)}; largest "
        f"relative difference {max(d for _, d in compared):.1e}; the steps of all {len(points)} tags ascend",
    )


def same_values(points, tag, needed, allowed, field):
    """Points of `tag` stand for `field` at each step of `needed`, and at no other than `allowed`'s."""
    if tag not in points:
        raise Failure(f"TensorBoard: no tag {tag}")
    if missing := {row["step"] for row in needed} - {step for step, _ in points[tag]}:
        raise Failure(f"TensorBoard: {tag} lacks step {min(missing)}, which metrics.jsonl has")
    expected = {row["step"]: row.get(field) for row in allowed}
    largest = 0.0
    for step, found in points[tag]:
        if step not in expected:
            raise Failure(f"TensorBoard: {tag} has step {step}, which metrics.jsonl has not")
        wanted = expected[step]
        if wanted is None and math.isnan(found):  # JSON has no NaN
            continue
        off = math.inf if wanted is None else abs(found - wanted)
        if not off <= LOG_TOLERANCE * abs(wanted or 0) + SMALLEST_FLOAT:
            raise Failure(f"TensorBoard: {tag} at step {step} is {found:.9g}, {wanted} in metrics.jsonl")
        if abs(wanted) > SMALLEST_FLOAT:
            largest = max(largest, off / abs(wanted))
    return len(points[tag]), largest


def quiet():
    """Before anything imports transformers: no downloads, no progress bars."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def main():
    args = options()
    for path in (args.platon, args.sentences, args.run / "model" / SAVED):
        if not path.is_file():
            raise Failure(f"{path}: no such file")
    quiet()
    with tempfile.TemporaryDirectory(prefix="platon-interchange-") as folder:
        temporary = pathlib.Path(folder)
        with during(f"{args.run / 'model'} in transformers"):
            used, encoded = run_model(args.platon, args.run, args.sentences, args.labels, temporary)
        with during("transformers' models in platon"):
            foreign_models(args.platon, args.run, used, encoded, temporary)
        with during("the sparse export, converted back"):
            sparse_export(args.platon, args.run, temporary)
    if args.tensorboard:
        with during("the run's logs in TensorBoard"):
            tensorboard(args.run)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    except ImportError as error:
        sys.exit(f"error: {error} (hint: pip install -r requirements.txt, the file beside this program)")
