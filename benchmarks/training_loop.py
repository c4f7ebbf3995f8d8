"""Speed and memory of training, side by side: `python benchmarks/training_loop.py [--quick]`.

1. `ttl.train`'s loop beside a bare PyTorch loop over the same model, data, batch and dtype.
2. `trainer.precision=auto` beside plain float32 in PyTorch's default (NCHW) layout.
3. Peak memory of training with strategy=ttl against the cutoff.

The two sides of a pair take turns in one process, and a ratio is the median over the pairs, so that
what else the machine does hits both. Prints Markdown tables and writes a JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

import ttl_lightning as ttl
from ttl_lightning.runtime.precision import Choice, choose, to_channels_last

Row = dict[str, Any]

LOOPS = (
    (
        "tf_efficientnet_lite0 ttl block3",
        ("strategy=ttl", "cutoff=block3", "backbone=tf_efficientnet_lite0"),
    ),
    ("resnet18 ftl", ("strategy=ftl", "backbone=resnet18")),
)
LOOP_SETTINGS = (
    "backbone.weights=null",
    "data=phantom",
    "data.image_size=64",
    "data.batch_size=64",
    "data.val_size=64",
    "data.test_size=64",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "latency=false",
)
CUTS = ("stem", "block1", "block2", "block3", "block4")
QUICK_CUTS = ("block1", "block4")
NETWORKS = ("resnet50", "resnet18", "tf_efficientnet_lite0")
SHAPES = ((16, 3, 224, 224), (64, 3, 64, 64))
MEMORY_SETTINGS = (
    *LOOP_SETTINGS,
    "backbone=resnet50",
    "strategy=ttl",
    "data.train_size=128",
    "trainer.max_epochs=1",
)
# Run in a fresh process: what training adds to the memory that the imports had taken.
MEMORY_JOB = """
import contextlib, io, sys
import torch
from ttl_lightning.runtime.memory import peak_memory_mb, reset_peak_memory
from ttl_lightning import train
reset_peak_memory(torch.device("cpu"))
baseline = peak_memory_mb(torch.device("cpu"))
with contextlib.redirect_stdout(io.StringIO()):
    result = train(overrides=sys.argv[2:], run_dir=sys.argv[1])
added = result.train["peak_memory_mb"] - baseline
print(result.complexity["params"], added, result.train["images_per_s"])
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; a few minutes")
    parser.add_argument("--loop", action="store_true", help="the first table alone")
    parser.add_argument("--smoke", action="store_true", help="whether it runs, in some seconds")
    parser.add_argument("--pairs", type=int, help="epochs of both sides")
    parser.add_argument("--images", type=int, default=1920, help="of an epoch of the loop")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--threads", type=int, help="1 is the steadiest where others compute too")
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # of the processes started below
        torch.set_num_threads(arguments.threads)
    quick = arguments.quick or arguments.smoke
    pairs = arguments.pairs or (3 if quick else 7)
    report: Row = {"machine": machine()}
    if arguments.smoke:
        report |= smoke()
    else:
        if not arguments.loop:  # first: a new process starts with the peak that this one has had
            report["memory"] = [memory(cutoff) for cutoff in (QUICK_CUTS if quick else CUTS)]
        images = f"data.train_size={arguments.images}"
        report["loop"] = [loop(name, (*given, images), pairs) for name, given in LOOPS]
        if not arguments.loop:
            report["precision"] = [precision(n, s, pairs) for s in SHAPES for n in NETWORKS]
    print(", ".join(f"{key}: {value}" for key, value in report["machine"].items()))
    for title in ("loop", "precision", "memory"):
        if title in report:
            print(f"\n### {title}\n\n{table(report[title])}")
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def smoke() -> Row:
    """The smallest of everything."""
    tiny = ("backbone=test_resnet", "data.image_size=32", "data.train_size=64", "data.val_size=16")
    return {
        "memory": [memory("stem", *tiny)],
        "loop": [loop("test_resnet ftl", ("strategy=ftl", *tiny), pairs=1)],
        "precision": [precision("test_resnet", (4, 3, 32, 32), pairs=1)],
    }


def machine() -> Row:
    """What the numbers depend on."""
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
        native = [f for f in facts.get("flags", "").split() if f in ("avx512_bf16", "amx_bf16")]
        cpu = f"{facts.get('model name', cpu)} ({' '.join(native) or 'no bfloat16'})"
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


class TakingTurns(pl.Callback):
    """Before each epoch of a run trains one of a bare loop, and logs its images a second."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the same model, data and optimizer."""
        self.epoch = bare_loop(pl_module.model, trainer.train_dataloader, trainer.optimizers[0])

    def on_train_epoch_start(self, _: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train an epoch; the run's own clock starts after it."""
        start = time.process_time()
        pl_module.log("bare", self.epoch())
        self.begin = time.process_time()
        self.theirs = self.begin - start

    def on_train_batch_end(self, *_: object) -> None:
        """Read the processor's clock, which stands still while others compute."""
        self.ours = time.process_time() - self.begin

    def on_train_epoch_end(self, _: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the bare epoch's processor time beside the run's."""
        pl_module.log("processor", self.theirs / self.ours)


def bare_loop(
    model: nn.Module, loader: torch.utils.data.DataLoader[Any], like: torch.optim.AdamW
) -> Callable[[], float]:
    """What one would write by hand: trains an epoch of a copy, returns images a second."""
    model = copy.deepcopy(model)
    first = like.param_groups[0]
    same = {key: first[key] for key in ("lr", "weight_decay", "fused")}
    optimizer = torch.optim.AdamW(model.parameters(), **same)

    def epoch() -> float:
        start = time.perf_counter()
        for batch in loader:
            loss = F.cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(loader.sampler) / (time.perf_counter() - start)

    return epoch


def loop(name: str, overrides: Sequence[str], pairs: int) -> Row:
    """Images a second of `ttl.train`, by its own count, and of a bare loop, epoch by epoch."""
    turns = "+callbacks.turns._target_=training_loop.TakingTurns"
    settings = [*LOOP_SETTINGS, *overrides, f"trainer.max_epochs={pairs + 1}", turns]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        ttl.train(overrides=settings, run_dir=folder)
        with (Path(folder) / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))[1:]  # the first epoch warms up
    ours = [float(row["images"]) / float(row["seconds"]) for row in rows]
    theirs = [float(row["bare"]) for row in rows]
    return {
        "model": name,
        "ttl images/s": round(median(ours)),
        "bare images/s": round(median(theirs)),
        "ratio": ratio(ours, theirs),
        "by processor time": round(median(float(row["processor"]) for row in rows), 3),
    }


def precision(name: str, shape: tuple[int, ...], pairs: int) -> Row:
    """Images a second of training steps, with what `auto` chooses and with plain float32."""
    models = [ttl.create_model(name, "ftl", image_size=shape[2:], weights=None) for _ in range(2)]
    start = time.perf_counter()
    choice = choose(models[0], shape)
    seconds = time.perf_counter() - start
    auto = training_step(models[0], shape, choice)
    plain = training_step(models[1], shape, Choice("32-true", channels_last=False))
    auto(), plain()
    ours, theirs = zip(*((auto(), plain()) for _ in range(pairs)), strict=True)
    return {
        "model": name,
        "pixels": shape[-1],
        "batch": shape[0],
        "auto": f"{choice.precision}{' channels_last' if choice.channels_last else ''}",
        "auto images/s": round(median(ours), 1),
        "float32 images/s": round(median(theirs), 1),
        "ratio": ratio(ours, theirs),
        "choosing took s": round(seconds, 1),
    }


def training_step(model: nn.Module, shape: tuple[int, ...], choice: Choice) -> Callable[[], float]:
    """A function that trains on a batch twice, and returns the images a second."""
    if choice.channels_last:
        to_channels_last(model)
    images, labels = torch.randn(shape), torch.randint(0, 2, shape[:1])
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-5)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=choice.precision == "bf16-mixed"):
                loss = F.cross_entropy(model(images).float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return 2 * shape[0] / (time.perf_counter() - start)

    return run


def memory(cutoff: str, *overrides: str) -> Row:
    """Peak memory that training adds, in a process of its own."""
    params, peak_mb, _ = job(*MEMORY_SETTINGS, f"cutoff={cutoff}", *overrides)
    return {
        "model": "resnet50 ttl",
        "cutoff": cutoff,
        "parameters (M)": round(params / 1e6, 2),
        "peak memory (MB)": round(peak_mb),
    }


def job(*settings: str) -> tuple[float, float, float]:
    """Parameters, the memory that training adds (MB), and images a second of a run of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", MEMORY_JOB, f"{folder}/run", *settings]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    params, peak_mb, speed = map(float, done.stdout.split()[-3:])
    return params, peak_mb, speed


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the pairs."""
    return round(median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        list(rows[0]),
        ["---"] * len(rows[0]),
        *([str(v) for v in row.values()] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
