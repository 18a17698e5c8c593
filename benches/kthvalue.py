#!/usr/bin/env python3
"""torch.kthvalue over as many scores as `cargo bench threshold` cuts: seconds, the median of five.

usage: kthvalue.py [cpu|cuda]

Run it by the interpreter that `just race` has made, in the same sitting as the bench.
"""
import sys
import time

import torch

device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
for n in (10_600_000, 85_000_000):
    scores = (torch.rand(n, device=device) * 2 - 1) ** 4 * (torch.rand(n, device=device) * 2 - 1) ** 4
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.kthvalue(scores, n // 5 * 4)[0].item()
        times.append(time.perf_counter() - begin)
    print(f"torch.kthvalue of {n:,} scores: {sorted(times)[2]:.3f} s, torch {torch.__version__}, "
          f"{device}, {torch.get_num_threads()} threads")
