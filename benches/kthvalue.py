#!/usr/bin/env python3
"""torch.kthvalue over as many scores as `cargo bench threshold` cuts: seconds, the median of five.

Run it by the interpreter that `just race` has made, in the same sitting as the bench.
"""
import time

import torch

for n in (10_600_000, 85_000_000):
    scores = (torch.rand(n) * 2 - 1) ** 4 * (torch.rand(n) * 2 - 1) ** 4
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.kthvalue(scores, n // 5 * 4)
        times.append(time.perf_counter() - begin)
    print(f"torch.kthvalue of {n:,} scores: {sorted(times)[2]:.3f} s, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads")
