#!/usr/bin/env python3
"""Proves that ONNX Runtime answers with platon's exports as platon and transformers do.

    python onnx_check.py --platon PROGRAM --run RUN --sentences FILE.tsv

RUN is the folder of a finished run. FILE.tsv is as interchange.py takes it; its first 200 rows are used, and
48 of them for other models.
RUN/model, and models of the same kind that were never platon's, are exported with
`platon export --format onnx`, with --whole and without. Those others have random weights, every
activation, one output and several, and neurons, heads and dimensions of heads that are zero. Of each
export:

1. ONNX's checker takes it, with its inference of shapes; operators, inputs and dimensions are as
   transformers' own export has them, and the inputs are what the folder's tokenizer gives.
2. ONNX Runtime's logits and those of transformers and of `platon predict` differ by 1e-4 at most: on
   batches of mixed lengths, on single rows, on texts of one token, and with more padding than needed.
3. They differ by 1e-4 at most from transformers' where the mask has holes, and are finite where a row is
   masked altogether.

Without --whole the file is smaller where something can be left out. Prints a line per export. Ends with
status 1 and one line at the first that fails. Needs the packages in requirements.txt; writes to a
temporary folder only.
"""
import argparse
import pathlib
import re
import sys
import tempfile

from interchange import (
    LEAST_SPREAD, TOLERANCE, Failure, during, floats, logits_of, passed, platon, predictions, quiet, random_model,
    read_rows, write_rows)

ROWS = 200
OTHER_ROWS = 48  # of the models that were never platon's
BATCH = 16
SINGLES = 5  # rows that are asked one by one
OPSET = 17
MOST_IR = 9  # of ONNX Runtime 1.16
SHORT = ["a", "the", "man"]
# Activation and number of outputs of the models that were never platon's.
KINDS = [("gelu", 3), ("gelu_new", 1), ("relu", 2), ("silu", 4), ("tanh", 2)]
LAYERS = 3
MODULES = {
    "query": "query|q_lin", "key": "key|k_lin", "value": "value|v_lin", "joined": r"attention\.output\.dense|out_lin",
    "in": r"intermediate\.dense|ffn\.lin1", "out": r"(?<!attention\.)output\.dense|ffn\.lin2",
}


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--platon", required=True, type=pathlib.Path, metavar="PROGRAM", help="the program under test")
    p.add_argument("--run", required=True, type=pathlib.Path, metavar="RUN", help="folder of a finished run")
    p.add_argument("--sentences", required=True, type=pathlib.Path, metavar="FILE.tsv")
    return p.parse_args()


class Texts:
    """Rows, and the file that `platon predict` reads them from."""

    def __init__(self, path, rows):
        self.path, self.rows = path, rows
        write_rows(path, rows)

    def encoded(self, tokenizer):
        return [tokenizer(*row) for row in self.rows]


def batches(encoded, tokenizer, size, more=0):
    """Arrays of up to `size` rows, padded to the longest, and by `more` tokens."""
    for first in range(0, len(encoded), size):
        rows = encoded[first : first + size]
        length = max(len(row["input_ids"]) for row in rows) + more
        yield dict(tokenizer.pad(rows, padding="max_length", max_length=length, return_tensors="np"))


def answers(session, inputs):
    """The logits of batches, all rows together."""
    import numpy

    names = {value.name for value in session.get_inputs()}
    parts = []
    for batch in inputs:
        if batch.keys() != names:
            raise Failure(f"the tokenizer gives {sorted(batch)}, the model takes {sorted(names)}")
        parts.append(session.run(["logits"], {name: array.astype(numpy.int64) for name, array in batch.items()})[0])
    return numpy.concatenate(parts)


def largest(what, found, wanted):
    """The largest difference, which must be small."""
    import numpy

    if found.shape != wanted.shape:
        raise Failure(f"{what}: logits of shape {found.shape}, expected {wanted.shape}")
    difference = numpy.abs(found - wanted)
    if not (difference <= TOLERANCE).all():  # NaN too
        row, place = numpy.argwhere(~(difference <= TOLERANCE))[0]
        raise Failure(f"{what}: row {row}: logit {place} is {found[row, place]:.7g}, expected {wanted[row, place]:.7g}")
    return difference.max()


def check_file(path, tokenizer, outputs):
    """Check 1."""
    import onnx

    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    versions = [(entry.domain, entry.version) for entry in model.opset_import]
    if versions != [("", OPSET)] or model.ir_version > MOST_IR or model.producer_name != "platon":
        raise Failure(f"{path}: operators {versions}, version {model.ir_version}, by {model.producer_name!r}")

    def dimensions(value):
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    order = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = [name for name in order if name in tokenizer.model_input_names]
    found = [(value.name, dimensions(value)) for value in model.graph.input]
    if found != [(name, ["batch_size", "sequence_length"]) for name in inputs]:
        raise Failure(f"{path}: inputs {found}, expected {inputs}")
    found = [(value.name, dimensions(value)) for value in model.graph.output]
    if found != [("logits", ["batch_size", outputs])]:
        raise Failure(f"{path}: outputs {found}")


def with_holes(batch):
    """The batch with some tokens masked, but never the first."""
    import numpy

    keep = numpy.random.default_rng(1).random(batch["attention_mask"].shape) < 0.6
    keep[:, 0] = True
    return {**batch, "attention_mask": batch["attention_mask"] * keep}


def transformers_logits(model, batch):
    import torch

    with torch.inference_mode():
        return model(**{name: torch.tensor(array) for name, array in batch.items()}).logits.float().numpy()


def check_export(what, platon_program, source, folder, model, texts, short, arguments, least_spread):
    """Checks one export of `source`, which `model` is in transformers; the file's bytes."""
    import numpy
    import onnxruntime
    from transformers import AutoConfig, AutoTokenizer

    platon(platon_program, "export", source, "--format", "onnx", "--output", folder, *arguments)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    outputs = model.config.num_labels
    if (config.num_labels, config.id2label) != (outputs, model.config.id2label):
        raise Failure(f"{what}: config.json names {config.id2label}, expected {model.config.id2label}")
    check_file(folder / "model.onnx", tokenizer, outputs)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    differences, spreads = [], []
    for rows in (texts, short):
        encoded = rows.encoded(tokenizer)
        wanted = logits_of(model, AutoTokenizer.from_pretrained(folder), encoded)
        spreads.append(wanted.std(axis=0).min())
        found = answers(session, batches(encoded, tokenizer, BATCH))
        differences.append(largest(f"{what}, transformers", found, wanted))
        predicted = predictions(platon_program, source, rows.path, len(encoded))
        predicted = numpy.array([floats(prediction, "logits", outputs) for prediction in predicted])
        differences.append(largest(f"{what}, platon", found, predicted))
        alone = answers(session, batches(encoded[:SINGLES], tokenizer, 1))
        differences.append(largest(f"{what}, one row at a time", alone, wanted[:SINGLES]))
        padded = answers(session, batches(encoded[:SINGLES], tokenizer, BATCH, more=9))
        differences.append(largest(f"{what}, more padding", padded, wanted[:SINGLES]))

    batch = next(batches(texts.encoded(tokenizer), tokenizer, BATCH))
    holes = with_holes(batch)
    found, wanted = answers(session, [holes]), transformers_logits(model, holes)
    differences.append(largest(f"{what}, a mask with holes", found, wanted))
    masked = {**batch, "attention_mask": numpy.zeros_like(batch["attention_mask"])}
    if not numpy.isfinite(answers(session, [masked])).all():
        raise Failure(f"{what}: logits that are not finite where everything is masked")
    if not spreads[0] >= least_spread:
        raise Failure(f"{what}: the logits vary by {spreads[0]:.1e} only, which proves nothing: take other sentences")
    size = (folder / "model.onnx").stat().st_size
    rows = len(texts.rows) + len(short.rows)
    figures = f"largest difference {max(differences):.1e} of logits that vary by {spreads[0]:.1e}"
    passed(what, f"{figures}, {rows} rows, {size / 1e6:.1f} MB")
    return size


def cut(model):
    """Zeros in whole neurons, heads and dimensions of heads, other ones in each layer; in the first all heads,
    in the next all neurons."""
    import torch

    generator = torch.Generator().manual_seed(2)
    heads = model.config.num_attention_heads
    for n in range(LAYERS):
        modules = {name: module for name, module in model.named_modules() if re.search(rf"\.layer\.{n}\.", name)}
        part = {
            key: next(module for name, module in modules.items() if re.search(f"({pattern})$", name))
            for key, pattern in MODULES.items()
        }

        def some(count, share):
            return torch.rand(count, generator=generator) < share

        with torch.no_grad():
            width = part["query"].weight.shape[0]
            part["query"].weight[some(width, 0.3)] = 0  # with their biases left
            part["key"].weight[some(width, 0.3)] = 0
            part["value"].weight[some(width, 0.2)] = 0
            part["joined"].weight[:, some(width, 0.4)] = 0
            by_head = part["joined"].weight.view(width, heads, width // heads)
            by_head[:, 0 if n > 0 else slice(None)] = 0
            neurons = part["in"].weight.shape[0]
            part["in"].weight[some(neurons, 0.3)] = 0
            part["out"].weight[:, some(neurons, 0.5 if n != 1 else 2)] = 0
    return model


def foreign(program, config, activation, outputs, tokenizer_folder, folder):
    """A random model of LAYERS layers, saved by transformers."""
    import copy

    from transformers import AutoTokenizer

    config = copy.deepcopy(config)
    config.num_hidden_layers = LAYERS
    setattr(config, "activation" if config.model_type == "distilbert" else "hidden_act", activation)
    config.num_labels = outputs
    config.problem_type = "multi_label_classification" if outputs > 3 else None
    model = cut(random_model(config))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return model


def check_all(program, run, sentences, temporary):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    rows, _, _ = read_rows(sentences, tokenizer, model.config)
    texts = Texts(temporary / "sentences.tsv", rows[:ROWS])
    short = Texts(temporary / "short.tsv", [(text, rows[0][1] and SHORT[0]) for text in SHORT])

    def both(what, source, model, texts, least_spread=0):
        for name, arguments in (("whole", ["--whole"]), ("shrunk", [])):
            with tempfile.TemporaryDirectory(dir=temporary) as around:
                folder = pathlib.Path(around) / "onnx"
                place = f"{what}, {name}", program, source, folder
                yield check_export(*place, model, texts, short, arguments, least_spread)

    list(both("platon's model in ONNX Runtime", run, model, texts))
    fewer = Texts(temporary / "fewer.tsv", rows[:OTHER_ROWS])
    for activation, outputs in KINDS:
        folder = temporary / activation
        cut_model = foreign(program, model.config, activation, outputs, run / "model", folder)
        whole, shrunk = both(f"a random model, {activation}, outputs {outputs}", folder, cut_model, fewer, LEAST_SPREAD)
        if not shrunk < whole:
            raise Failure(f"a model with zeros has {shrunk} bytes shrunk, {whole} whole")


def main():
    args = options()
    for path in (args.platon, args.sentences, args.run / "model" / "model.safetensors"):
        if not path.is_file():
            raise Failure(f"{path}: no such file")
    quiet()
    with tempfile.TemporaryDirectory(prefix="platon-onnx-") as folder, during("an ONNX export"):
        check_all(args.platon, args.run, args.sentences, pathlib.Path(folder))


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    except ImportError as error:
        sys.exit(f"error: {error} (hint: pip install -r requirements.txt, the file beside this program)")
