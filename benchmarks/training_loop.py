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
from unittest import mock

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F

import ttl_lightning as ttl
from ttl_lightning.config import compose as config
from ttl_lightning.models.backbones.factory import pixel_statistics
from ttl_lightning.runs.callbacks.history import History
from ttl_lightning.runs.fit import train
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
    "data.train_size=1920",
    "data.val_size=64",
    "data.test_size=64",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)
NETWORKS = ("resnet50", "resnet18", "tf_efficientnet_lite0")
SHAPES = ((16, 3, 224, 224), (64, 3, 64, 64))
MEMORY_SETTINGS = (
    *(setting for setting in LOOP_SETTINGS if "train_size" not in setting),
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
from ttl_lightning.runs.fit import train
reset_peak_memory(torch.device("cpu"))
baseline = peak_memory_mb(torch.device("cpu"))
with contextlib.redirect_stdout(io.StringIO()):
    result = train(overrides=sys.argv[2:], run_dir=sys.argv[1])
print(result.complexity["params"], result.train["peak_memory_mb"] - baseline)
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; a few minutes")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--threads", type=int, help="1 is the steadiest where others compute too")
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # of the processes started below
        torch.set_num_threads(arguments.threads)
    pairs = 3 if arguments.quick else 7
    cutoffs = (
        ("block1", "block4")
        if arguments.quick
        else ("stem", "block1", "block2", "block3", "block4")
    )
    report: Row = {"machine": machine()}
    # First: a new process starts with the peak memory that this one has had.
    report["memory"] = [memory(cutoff) for cutoff in cutoffs]
    report["loop"] = [loop(name, overrides, pairs) for name, overrides in LOOPS]
    report["precision"] = [precision(name, s, pairs) for s in SHAPES for name in NETWORKS]
    print(", ".join(f"{key}: {value}" for key, value in report["machine"].items()))
    for title in ("loop", "precision", "memory"):
        print(f"\n### {title}\n\n{table(report[title])}")
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{arguments.out}")


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


def loop(name: str, overrides: Sequence[str], pairs: int) -> Row:
    """Images a second of `ttl.train`, by its own count, and of a bare loop, epoch by epoch."""
    settings = [*LOOP_SETTINGS, *overrides, f"trainer.max_epochs={pairs + 1}"]
    theirs: list[float] = []
    bare_epoch = bare_loop(settings)

    class TakingTurns(History):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            theirs.append(bare_epoch())
            super().on_train_epoch_start(trainer, pl_module)

    with (
        mock.patch("ttl_lightning.runs.fit.History", TakingTurns),
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        train(overrides=settings, run_dir=Path(folder) / "run")
        with (Path(folder) / "run" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
    ours = [float(row["images"]) / float(row["seconds"]) for row in rows]
    return {
        "model": name,
        "ttl images/s": round(median(ours[1:])),  # the first epoch warms up
        "bare images/s": round(median(theirs[1:])),
        "ratio": ratio(ours[1:], theirs[1:]),
    }


def bare_loop(settings: Sequence[str]) -> Callable[[], float]:
    """What one would write by hand: trains an epoch over the same data, returns images a second."""
    cfg, _ = config.read(settings)
    mean, std = pixel_statistics(cfg.backbone.name, cfg.data.in_channels)
    augment = instantiate(cfg.protocol.augment, _convert_="all")
    make = instantiate(cfg.data, _partial_=True, _convert_="all")
    data = make(seed=cfg.seed, augment=augment, mean=mean, std=std)
    data.setup("fit")
    model = ttl.create_model(
        cfg.backbone.name,
        cfg.strategy.name,
        cfg.cutoff,
        data.num_classes,
        image_size=64,
        weights=None,
    ).train()
    optimizer = instantiate(cfg.protocol.optimizer)(
        model.parameters(), lr=cfg.protocol.learning_rate
    )
    loader = data.train_dataloader()

    def epoch() -> float:
        start = time.perf_counter()
        for batch in loader:
            loss = F.cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(loader.sampler) / (time.perf_counter() - start)

    return epoch


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


def memory(cutoff: str) -> Row:
    """Peak memory that training adds, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        job = [
            sys.executable,
            "-c",
            MEMORY_JOB,
            f"{folder}/run",
            *MEMORY_SETTINGS,
            f"cutoff={cutoff}",
        ]
        done = subprocess.run(job, check=True, capture_output=True, text=True)
    params, peak_mb = done.stdout.split()[-2:]
    return {
        "model": "resnet50 ttl",
        "cutoff": cutoff,
        "parameters (M)": round(int(params) / 1e6, 2),
        "peak memory (MB)": round(float(peak_mb)),
    }


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
