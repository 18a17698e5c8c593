#!/usr/bin/env python3
"""PyTorch's side of the race: the job of `platon train`, written with torch and transformers.

It fine-tunes a BERT checkpoint on one GLUE task while pruning it with PLATON (or by magnitude, or
not at all). Every update is one JSON line on stdout: `step` (from 1), `phase` (of the ratio
schedule: before, falling or final), `loss`, `seconds` (from the assembly of the batch to the end of
the pruning) and `pruning_seconds` (its part for scores, threshold and masks). The last line has the
dev scores times 100, `sparsity` (share of zeros among the prunable weights), `evaluation_seconds`
(the pass over the encoded dev split), `peak_rss_bytes`, the number of threads and the versions.

Semantics as in docs/method.md; batches are padded to their longest sequence, as usual.
"""
import argparse
import json
import math
import platform
import random
import resource
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers
from transformers import AutoTokenizer, BertModel

PRUNABLE = ("attention.self", "attention.output.dense", "output.dense", "intermediate.dense")
NO_DECAY = ("bias", "LayerNorm.weight")
EVALUATION_BATCH = 64
TASKS = {  # name: (folder, has a header line, column of the first text, of the second, of the label)
    "cola": ("CoLA", False, 3, None, 1), "sst": ("SST-2", True, 0, None, 1), "mrpc": ("MRPC", True, 3, 4, 0),
    "rte": ("RTE", True, 1, 2, 3), "wnli": ("WNLI", True, 1, 2, 3), "stsb": ("STS-B", True, 7, 8, 9),
}


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--task", choices=TASKS, required=True)
    p.add_argument("--data", required=True, help="folder with one folder of raw GLUE files per task")
    p.add_argument("--checkpoint", required=True, help="Hugging Face folder to start from")
    p.add_argument("--pruner", choices=("platon", "magnitude", "none"), default="platon")
    p.add_argument("--initial-threshold", type=float, default=1.0, help="remaining ratio before pruning")
    p.add_argument("--final-threshold", type=float, default=0.2, help="remaining ratio at the end")
    p.add_argument("--warmup-steps", type=int, default=120, help="unit of the next two, in updates")
    p.add_argument("--initial-warmup", type=int, default=1, help="before pruning, in warmup-steps")
    p.add_argument("--final-warmup", type=int, default=5, help="at the final ratio, in warmup-steps")
    p.add_argument("--beta1", type=float, default=0.85, help="smoothing of the importance")
    p.add_argument("--beta2", type=float, default=0.95, help="smoothing of the uncertainty")
    p.add_argument("--delta-t", type=int, default=10, help="window of the sensitivities, in updates")
    p.add_argument("--learning-rate", type=float, default=1e-4)
    p.add_argument("--warmup-schedule", choices=("warmup_linear", "linear"), default="warmup_linear")
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("f32", "f16", "bf16"), default="f32",
                   help="of the products of updates: f32 (TF32 on a GPU), or autocast's, f16 with a loss scale")
    return p.parse_args()


class Classifier(nn.Module):
    def __init__(self, checkpoint, n_out):
        super().__init__()
        self.bert = BertModel.from_pretrained(checkpoint)
        hidden = self.bert.config.hidden_size
        self.pooler = nn.Linear(hidden, hidden)
        self.scoring = nn.Linear(hidden, n_out)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids, types, mask):
        x = self.bert(input_ids=ids, token_type_ids=types, attention_mask=mask).last_hidden_state
        pooled = torch.tanh(self.pooler(self.dropout(x[:, 0])))
        return self.scoring(self.dropout(pooled))


class Adamax:
    """Adamax without bias correction, decoupled weight decay 0.01, warm-up and linear decay."""

    def __init__(self, net, lr, total, schedule, warmup=0.1, betas=(0.9, 0.999), eps=1e-6):
        self.params = [(p, 0.0 if any(k in n for k in NO_DECAY) else 0.01) for n, p in net.named_parameters()]
        self.param_groups = [{"params": [p for p, _ in self.params]}]  # for the loss scale
        self.m = [torch.zeros_like(p) for p, _ in self.params]
        self.u = [torch.zeros_like(p) for p, _ in self.params]
        self.lr, self.total, self.warmup, self.betas, self.eps, self.t = lr, total, warmup, betas, eps, 0
        self.peak = 1.0 if schedule == "warmup_linear" else 1.0 / (1 - warmup)

    @torch.no_grad()
    def step(self):
        x = self.t / self.total
        lr = self.lr * (x / self.warmup if x < self.warmup else (1 - x) * self.peak)
        b1, b2 = self.betas
        for (p, decay), m, u in zip(self.params, self.m, self.u):
            if p.grad is None:
                continue
            m.mul_(b1).add_(p.grad, alpha=1 - b1)
            torch.maximum(u.mul_(b2), p.grad.abs() + self.eps, out=u)
            p.add_(m / (u + self.eps) + decay * p, alpha=-lr)
        self.t += 1


class RatioSchedule:
    def __init__(self, o, total):
        self.o = o
        self.first = o.initial_warmup * o.warmup_steps
        self.last = total - o.final_warmup * o.warmup_steps

    def at(self, step):
        """Phase, remaining ratio, and whether weights are masked, at `step` (from 1)."""
        o = self.o
        if step <= self.first:
            return "before", o.initial_threshold, False
        if step > self.last:
            return "final", o.final_threshold, True
        left = 1 - (step - self.first) / (self.last - self.first)
        ratio = o.final_threshold + (o.initial_threshold - o.final_threshold) * left**3
        return "falling", ratio, step % o.delta_t == 0


class Pruning:
    def __init__(self, net, o, schedule):
        self.params = [p for n, p in net.named_parameters() if any(k in n for k in PRUNABLE)]
        self.o, self.schedule = o, schedule
        scored = self.params if o.pruner == "platon" else []
        self.window = [torch.zeros_like(p) for p in scored]
        self.importance = [torch.zeros_like(p) for p in scored]
        self.uncertainty = [torch.zeros_like(p) for p in scored]

    @torch.no_grad()
    def step(self, step):
        local, o = step % self.o.delta_t, self.o
        if o.pruner == "platon":
            for p, w, i, u in zip(self.params, self.window, self.importance, self.uncertainty):
                sensitivity = (p * p.grad).abs()
                if local == 0:
                    i.mul_(o.beta1).add_(w, alpha=1 - o.beta1)
                    u.mul_(o.beta2).add_((w - i).abs(), alpha=1 - o.beta2)
                    w.copy_(sensitivity)
                else:
                    w.mul_(local).add_(sensitivity).div_(local + 1)
        _, r, due = self.schedule.at(step)
        if due:
            if o.pruner == "platon":
                scores = [i * u for i, u in zip(self.importance, self.uncertainty)]
            else:
                scores = [p.abs() for p in self.params]
            flat = torch.cat([s.view(-1) for s in scores])
            cut = torch.kthvalue(flat, int(flat.numel() * (1 - r)))[0]
            for p, s in zip(self.params, scores):
                p.masked_fill_(s < cut, 0.0)

    def sparsity(self):
        return sum((p == 0).sum().item() for p in self.params) / sum(p.numel() for p in self.params)


def rows(o, split):
    """Texts and label of each row of a raw file."""
    folder, header, first, second, label = TASKS[o.task]
    with open(f"{o.data}/{folder}/{split}.tsv", encoding="utf-8-sig", newline="\n") as f:
        for n, line in enumerate(f):
            if header and n == 0:
                continue
            c = line.rstrip("\r\n").split("\t")
            y = float(c[label]) if o.task == "stsb" else int(c[label] in ("1", "entailment"))
            yield c[first], None if second is None else c[second], y


def encode(o, tokenizer, split):
    """Token ids, token types and label of each row."""
    return [(e["input_ids"], e["token_type_ids"], y)
            for a, b, y in rows(o, split) for e in [tokenizer(a, b, truncation=True, max_length=512)]]


def collate(items, label_type, device):
    """Ids, types and mask, each [items, longest], and labels [items]; on `device`."""
    length = max(len(ids) for ids, _, _ in items)
    batch = torch.zeros(3, len(items), length, dtype=torch.long)
    for k, (ids, types, _) in enumerate(items):
        batch[0, k, : len(ids)], batch[1, k, : len(ids)], batch[2, k, : len(ids)] = \
            torch.tensor(ids), torch.tensor(types), 1
    return *batch.to(device), torch.tensor([y for *_, y in items], dtype=label_type).to(device)


def finish(device):
    """Waits for what a GPU still has to do, so that a clock read after it tells the truth."""
    if device == "cuda":
        torch.cuda.synchronize()


def train(o, net, data, label_type):
    """Trains and prunes `net`; one JSON line per update."""
    regression = label_type == torch.float
    batches = math.ceil(len(data) / o.batch_size)
    total = batches * o.epochs
    schedule = RatioSchedule(o, total)
    optimizer = Adamax(net, o.learning_rate, total, o.warmup_schedule)
    pruning = None if o.pruner == "none" else Pruning(net, o, schedule)
    half = {"f16": torch.float16, "bf16": torch.bfloat16}.get(o.precision)
    scaler = torch.amp.GradScaler(o.device, enabled=o.precision == "f16")
    step = 0
    for _ in range(o.epochs):
        order = np.random.permutation(len(data))
        for k in range(batches):
            begin = time.perf_counter()
            ids, types, mask, y = collate(
                [data[j] for j in order[k * o.batch_size:(k + 1) * o.batch_size]], label_type, o.device)
            with torch.autocast(o.device, half, enabled=half is not None):
                out = net(ids, types, mask).float()
                loss = F.mse_loss(out.squeeze(-1), y) if regression else F.cross_entropy(out, y)
            net.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            step += 1
            finish(o.device)
            middle = time.perf_counter()
            if pruning:
                pruning.step(step)
            finish(o.device)
            end = time.perf_counter()
            print(json.dumps({"step": step, "phase": schedule.at(step)[0], "loss": loss.item(),
                              "seconds": end - begin, "pruning_seconds": end - middle}), flush=True)
    return pruning.sparsity() if pruning else 0.0


@torch.no_grad()
def evaluate(net, data, label_type, device):
    """The task's scores on `data`, times 100, and the seconds that the predictions took."""
    net.eval()
    begin = time.perf_counter()
    out = [(net(i, t, m), y) for k in range(0, len(data), EVALUATION_BATCH)
           for i, t, m, y in [collate(data[k:k + EVALUATION_BATCH], label_type, device)]]
    net.train()
    logits, gold = torch.cat([l for l, _ in out]).cpu(), torch.cat([y for _, y in out]).cpu().numpy()
    seconds = time.perf_counter() - begin
    # Here, so that the scores' packages do not count as memory of the training.
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import f1_score, matthews_corrcoef
    if label_type == torch.float:
        s = logits.squeeze(-1).numpy()
        return {"pearson": 100 * pearsonr(s, gold)[0], "spearman": 100 * spearmanr(s, gold)[0]}, seconds
    p = logits.argmax(-1).numpy()
    return {"acc": 100 * (p == gold).mean(), "f1": 100 * f1_score(gold, p),
            "mcc": 100 * matthews_corrcoef(gold, p)}, seconds


def main():
    o = options()
    random.seed(o.seed), np.random.seed(o.seed), torch.manual_seed(o.seed)
    tokenizer = AutoTokenizer.from_pretrained(o.checkpoint)
    data, dev = encode(o, tokenizer, "train"), encode(o, tokenizer, "dev")
    regression = o.task == "stsb"
    label_type = torch.float if regression else torch.long
    torch.set_float32_matmul_precision("high")  # TF32, where there is such a thing
    net = Classifier(o.checkpoint, 1 if regression else 2).train().to(o.device)
    sparsity = train(o, net, data, label_type)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    scores, seconds = evaluate(net, dev, label_type, o.device)
    print(json.dumps({**{k: float(v) for k, v in scores.items()}, "sparsity": sparsity,
                      "evaluation_seconds": seconds, "peak_rss_bytes": rss, "threads": torch.get_num_threads(),
                      "torch": torch.__version__, "transformers": transformers.__version__,
                      "python": platform.python_version()}))


if __name__ == "__main__":
    main()
