"""Gradients of convolutions in bfloat16 on this CPU beside those in float32, at random sizes.

    python benchmarks/bfloat16.py            # a minute; counts where the two disagree

What disagrees may also write beyond its memory, so each round is a process of its own.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter

import torch
from torch import nn

ROUNDS, SECONDS = 6, 10
FAR = 0.03  # relative error; rounding to bfloat16 makes 0.003


def main() -> None:
    """Count, in processes that may die."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="whether it runs, in some seconds")
    parser.add_argument("--child", nargs=2, type=int, metavar=("SEED", "SECONDS"))
    options = parser.parse_args()
    if options.child:
        count(*options.child)
        return
    total: Counter[str] = Counter()
    for seed in range(1 if options.smoke else ROUNDS):
        child = ("--child", str(seed), "1" if options.smoke else str(SECONDS))
        run = subprocess.run(
            [sys.executable, __file__, *child], capture_output=True, text=True, check=False
        )
        total.update(run.stdout.split("\n"))
        total["process died"] += run.returncode != 0
    for key, number in sorted(total.items()):
        if key:
            print(f"{number:6d}  {key}")


def count(seed: int, seconds: int) -> None:
    """Print one line a convolution tried: its kind, and whether the gradients agree."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        dims, stride = random.choice((2, 3)), random.choice((1, 2))
        spatial = [random.choice((1, 2, 3, 4, 6, 7, 12)) for _ in range(dims)]
        groups, width = random.choice((1, 8, 32)), random.choice((2, 8, 16))
        channels = groups * width
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2](
            channels, channels, 3, stride=stride, padding=1, groups=groups, bias=False
        )
        where = "other maps"
        if dims == 3 and spatial[0] == 2:
            where = "2 slices"
        elif stride > 1 and min(spatial) == 1:
            where = "one voxel wide, strided"
        x = torch.randn(2, channels, *spatial)
        for last in (False, True):
            layout = "channels last" if last else "contiguous"
            verdict = "agree" if agrees(conv, x, last=last) else "DISAGREE"
            print(f"{dims}D, {where}, {layout}: {verdict}", flush=True)


def agrees(conv: nn.Conv2d | nn.Conv3d, x: torch.Tensor, *, last: bool) -> bool:
    """Whether the weight's gradient in bfloat16 is that in float32 but for rounding."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    conv.weight.data = conv.weight.data.contiguous(
        memory_format=formats[x.dim()] if last else torch.contiguous_format
    )
    gradients = []
    for mixed in (False, True):
        # memory that was used before, as it is in training
        junk = [torch.full((size,), torch.nan) for size in (1_000, 30_000, 1_000_000)]
        del junk
        conv.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            out = conv(x)
        out.backward(torch.ones_like(out))
        assert conv.weight.grad is not None
        gradients.append(conv.weight.grad.clone())
    exact, rounded = gradients
    return bool((rounded - exact).norm() / exact.norm() < FAR)


if __name__ == "__main__":
    main()
