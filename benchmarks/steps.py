"""What could make a training step faster or smaller: fused optimizers, compiling, checkpointing.

    python benchmarks/steps.py [--turns 15] [--threads 1] [--smoke]

Steps of each variant of a network take turns in one process; a ratio is the median over the turns
of the time beside the plain step's of that turn.
A compiled step's first call is timed apart. Inputs are noise, channels last, float32. Then runs
with and without `trainer.gradient_checkpointing`, each in a process of its own, by turns: the
memory that training adds.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F
from training_loop import Row, job, machine, table

import ttl_lightning as ttl

NETWORK = "tf_efficientnet_lite0"
BATCH = 32
RUN = ("strategy=ftl", "backbone.weights=null", "trainer.max_epochs=1", "latency=false",
       "data.val_size=8", "data.test_size=8", "trainer.accelerator=cpu")  # fmt: skip
RUNS = {
    "resnet3d_18, 24 × 96 × 96": (
        "backbone=resnet3d_18", "data=phantom3d", "data.image_size=[24,96,96]",
        "data.batch_size=8", "data.train_size=16", "data.window_stride=null",
    ),
    "resnet50, 224 px": (
        "backbone=resnet50", "data.image_size=224", "data.batch_size=32", "data.train_size=64",
    ),
    "tf_efficientnet_lite0, 224 px": (
        f"backbone={NETWORK}", "data.image_size=224", "data.batch_size=32", "data.train_size=64",
    ),
}  # fmt: skip
TINY = ("backbone=test_resnet", "data.image_size=32", "data.train_size=16")
Step = Callable[[], float]
VARIANTS = ("plain", "fused AdamW", "compiled")  # the last wants a C++ compiler


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pixels", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--smoke", action="store_true", help="a tiny network")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(", ".join(f"{key}: {value}" for key, value in machine().items()), flush=True)
    if options.smoke:
        rows = [compared("test_resnet", None, 32, turns=2, variants=VARIANTS[:2])]
    else:
        cases = [(cut, side) for side in options.pixels for cut in ("block3", None)]
        rows = [compared(NETWORK, cut, side, options.turns) for cut, side in cases]
    print(table(rows))
    runs = {"test_resnet": TINY} if options.smoke else RUNS
    turns = 1 if options.smoke else 2
    print(f"\n{table([checkpointed(name, given, turns) for name, given in runs.items()])}")


def compared(
    name: str, cutoff: str | None, side: int, turns: int, variants: Sequence[str] = VARIANTS
) -> Row:
    """One network's row."""
    strategy = "ttl" if cutoff else "ftl"
    model = ttl.create_model(name, strategy, cutoff, num_classes=2, weights=None)
    model.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 2
    steps: dict[str, Step] = {}
    for variant in variants:
        own = copy.deepcopy(model)
        if variant == "compiled":
            own.compile()
        steps[variant] = step(own, images, labels, fused=variant == "fused AdamW")
    first = {key: run() for key, run in steps.items()}
    times: dict[str, list[float]] = {key: [] for key in steps}
    for _ in range(turns):
        for key, run in steps.items():
            run()  # finds its own weights in the caches, not another's
            times[key].append(run())
    ratios = {
        key: median(a / b for a, b in zip(taken, times["plain"], strict=True))
        for key, taken in times.items()
    }
    return {
        "network": f"{name} {strategy} {cutoff or ''}, {side} px",
        "plain, ms": f"{1e3 * median(times['plain']):.0f}",
        **{key: f"{value:.2f}" for key, value in ratios.items() if key != "plain"},
        "compiling, s": f"{first.get('compiled', 0):.0f}",
    }


def checkpointed(name: str, overrides: tuple[str, ...], turns: int) -> Row:
    """Memory and speed of a run with and without."""
    found: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for _ in range(turns):
        for again, measured in found.items():
            key = f"trainer.gradient_checkpointing={str(again).lower()}"
            measured.append(job(*RUN, *overrides, key))
    plain, again = ([median(values) for values in zip(*of, strict=True)] for of in found.values())
    return {
        "run": name,
        "memory added, MB": f"{plain[1]:.0f}",
        "with checkpointing": f"{again[1]:.0f}",
        "memory": f"{again[1] / plain[1]:.2f}",
        "images/s": f"{again[2] / plain[2]:.2f}",
    }


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, fused: bool) -> Step:
    """A training step that returns its seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)
    model.train()

    def run() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        return time.perf_counter() - start

    return run


if __name__ == "__main__":
    main()
