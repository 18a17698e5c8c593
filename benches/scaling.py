#!/usr/bin/env python3
"""What a run takes on several machines, calculated: memory, bytes per update, and time.

usage: scaling.py [--compute SECONDS] [--parameters N] [--updates N] ...

Nothing here is measured: the seconds of an update on one machine come from a measurement
(`just race`, or report.json), and everything else follows from them and from sizes. Markdown on
stdout. The model, for R ranks and P parameters of 4 bytes:

- computing: the update's seconds divided by R; what does not divide (clipping, scoring, masking and
  Adamax, which every rank does for all weights) is --serial;
- adding up: a ring sends 2 (R - 1) / R of 4 P bytes per rank and update, in 2 (R - 1) steps that
  take --latency each; reading the gradients off and writing them back is --copy bytes per second;
- with --accumulation of N batches, N times the computing for the same sum.
"""
import argparse

GIB = 2**30
MODELS = {  # all parameters, those that PLATON may prune (weights of the encoder's matrices)
    "MiniLM (6 layers of 384)": (22_713_986, 10_616_832),
    "BERT-base": (109_483_778, 84_934_656),
    "BERT-large": (335_143_938, 301_989_888),
}


def resident_bytes(parameters, prunable, ranks=1):
    """Weights, gradients, both moments of Adamax, the three averages of the scores; with several
    ranks what is handed in and what comes back of the gradients."""
    return 4 * (4 * parameters + 3 * prunable + (2 * parameters if ranks > 1 else 0))


def ring_bytes(parameters, ranks):
    """What each rank sends per update, where gradients are added up around a ring."""
    return 2 * (ranks - 1) / ranks * 4 * parameters


def update_seconds(o, ranks, gbps):
    """One update of `o.accumulation` batches on `ranks` machines."""
    compute = o.compute * o.accumulation / ranks
    if ranks == 1:
        return compute + o.serial
    network = ring_bytes(o.parameters, ranks) * 8 / (gbps * 1e9) + 2 * (ranks - 1) * o.latency
    copies = 2 * 4 * o.parameters / o.copy
    return compute + o.serial + network + copies


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def table(head, rows):
    return "\n".join([row(*head), "|" + "---|" * len(head), *(row(*cells) for cells in rows)])


def options(arguments=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--compute", type=float, default=4.12,
                   help="seconds of a batch on one machine [32 rows of MRPC: four times what 8 took, %(default)s]")
    p.add_argument("--serial", type=float, default=0.055, help="seconds that do not divide [%(default)s]")
    p.add_argument("--parameters", type=int, default=MODELS["BERT-base"][0], help="[%(default)s]")
    p.add_argument("--updates", type=int, default=98_176, help="of the whole run [train mnli's, %(default)s]")
    p.add_argument("--accumulation", type=int, default=1, help="batches per update [%(default)s]")
    p.add_argument("--latency", type=float, default=50e-6, help="seconds of a message [%(default)s]")
    p.add_argument("--copy", type=float, default=4e9, help="bytes per second to and from the buffers [%(default)s]")
    p.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    p.add_argument("--gbps", type=float, nargs="+", default=[1, 10, 100])
    return p.parse_args(arguments)


def report(o):
    memory = [(name, f"{p / 1e6:.1f}", f"{q / 1e6:.1f}", f"{resident_bytes(p, q) / GIB:.2f}",
               f"{resident_bytes(p, q, 2) / GIB:.2f}", f"{4 * p / 1e6:.0f}") for name, (p, q) in MODELS.items()]
    yield table(["model", "parameters, M", "prunable, M", "resident, GiB", "with ranks, GiB", "gradients, MB"], memory)
    yield ""
    head = ["ranks", *(f"s per update, {g:g} Gb/s" for g in o.gbps), *(f"hours, {g:g} Gb/s" for g in o.gbps),
            *(f"efficiency, {g:g} Gb/s" for g in o.gbps)]
    one = update_seconds(o, 1, 1)
    rows = []
    for ranks in o.ranks:
        seconds = [update_seconds(o, ranks, g) for g in o.gbps]
        rows.append([ranks, *(f"{s:.3f}" for s in seconds),
                     *(f"{s * o.updates / o.accumulation / 3600:.1f}" for s in seconds),
                     *(f"{one / ranks / s:.0%}" for s in seconds)])
    yield table(head, rows)


if __name__ == "__main__":
    print(*report(options()), sep="\n")
