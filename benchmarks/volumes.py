"""Volumes: the loader beside the training step, and a training step of the paper's 3D network.

    python benchmarks/volumes.py           # the loader, some minutes
    python benchmarks/volumes.py --steps   # steps of ResNeXt3D-101 at 24 × 192 × 192, cut and whole

Studies of 200 slices of 512 × 512 are drawn, stored as a HDF5 file and read as `data=volumes` reads
any, windows of 24 × 192 × 192 from its disk cache. Steps are forward, backward and SGD; on a GPU in
bfloat16 with its peak memory, else in float32 on the CPU.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import torch
from torch import Tensor

import ttl_lightning as ttl
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import Loading
from ttl_lightning.data.phantoms.volumes import draw_volume
from ttl_lightning.data.sources.studies import StudiesSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.window_options import AbnormalView

STUDIES, BATCH = 4, 2
AUGMENT = Augment(208 / 192, ((192 / 208) ** 2,) * 2, (1.0, 1.0), 15.0, 0.5, slice_jitter=0.5)
STEPS = (("ftl", None), ("ttl", "block3"), ("ttl", "block2"))


@dataclass(frozen=True)
class Scale:
    """Of studies, windows and networks, and how many turns are taken."""

    slices: int
    pixels: int
    window: tuple[int, int, int]
    rounds: int
    models: tuple[tuple[str, str, str | None], ...]


PAPER = Scale(
    200,
    512,
    (24, 192, 192),
    6,
    (
        ("resnet3d_10", "ttl", "block2"),
        ("resnet3d_18", "ftl", None),
        ("resnext3d_101", "ttl", "block1"),
    ),
)
SMALL = Scale(24, 64, (8, 32, 32), 1, (("resnet3d_10", "ttl", "block1"),))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", action="store_true", help="the steps of ResNeXt3D-101 alone")
    parser.add_argument("--batch", type=int, default=8, help="windows a step, with --steps")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--smoke", action="store_true", help="small volumes: whether it runs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    scale = SMALL if options.smoke else PAPER
    if options.steps:
        steps(options.batch, scale)
    else:
        with tempfile.TemporaryDirectory() as folder:
            loader(Path(folder), scale)


def loader(folder: Path, scale: Scale) -> None:
    """Print what preparing a study takes, and the loader's share of a step's time."""
    archive = drawn(folder, scale)
    begin = time.perf_counter()
    data = opened(archive, folder, scale)
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    opened(archive, folder, scale)
    print(f"preparing a study of {scale.slices} slices: {first / STUDIES:.2f} s; ", end="")
    print(f"from the cache: {(time.perf_counter() - begin) / STUDIES:.4f} s")
    print(f"| model, batch of {BATCH} | loader ms/window | step ms/window | loader / step |")
    print("|---|---|---|---|")
    for name, strategy, cutoff in scale.models:
        step = stepper(name, strategy, cutoff, scale.window, torch.device("cpu"))
        batches = endless(data)
        reading, stepping = [], []
        for _ in range(scale.rounds):  # turn by turn, so that a slow spell hits both
            begin = time.perf_counter()
            batch = next(batches)
            loaded = time.perf_counter()
            step(batch["image"], batch["label"])
            reading.append(loaded - begin)
            stepping.append(time.perf_counter() - loaded)
        load, train = (1e3 * statistics.median(times) / BATCH for times in (reading, stepping))
        title = f"{name} {strategy} {cutoff or ''}".strip()
        print(f"| {title} | {load:.1f} | {train:.1f} | {load / train:.3f} |")


def drawn(folder: Path, scale: Scale) -> Path:
    """An HDF5 file of phantoms in PENet's layout, with its labels beside it."""
    path = folder / "studies.h5"
    rows = []
    with h5py.File(path, "w") as file:
        for number in range(STUDIES):
            volume = draw_volume(number, (scale.slices, scale.pixels, scale.pixels))
            # not compressed: what unpacking costs is the file's choice, and paid once
            file.create_dataset(str(number), data=volume.voxels)
            split = ("train", "train", "val", "test")[number % 4]
            slices = volume.lesion_mask.any((1, 2)).nonzero()[0]
            rows.append([number, volume.label, split, " ".join(map(str, slices))])
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["study", "label", "split", "abnormal_slices"], *rows])
    return path


def opened(archive: Path, folder: Path, scale: Scale) -> DataModule:
    """The data as a run opens them."""
    view = AbnormalView(image_size=scale.window)
    loading = Loading(batch_size=BATCH, cache="disk", cache_dir=folder / "cache")
    data = DataModule(StudiesSource(path=archive), view, loading, augment=AUGMENT)
    data.setup()
    return data


def endless(data: DataModule) -> Iterator[dict[str, Tensor]]:
    """Training batches, epoch after epoch."""
    for epoch in itertools.count():
        batches = data.train_dataloader()
        batches.sampler.set_epoch(epoch)
        yield from (batch for batch in batches if len(batch["label"]) == BATCH)


def stepper(
    name: str,
    strategy: str,
    cutoff: str | None,
    window: tuple[int, int, int],
    device: torch.device,
) -> Callable[[Tensor, Tensor], None]:
    """One training step of a model, done once already."""
    model = (
        ttl.create_model(name, strategy, cutoff, image_size=window, weights=None).to(device).train()
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    mixed = device.type == "cuda"

    def step(images: Tensor, labels: Tensor) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            logits = model(images.to(device))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), labels.to(device)).backward()
        optimizer.step()
        if mixed:
            torch.cuda.synchronize(device)

    step(torch.rand(BATCH, 3, *window), torch.arange(BATCH) % 2)
    return step


def steps(batch: int, scale: Scale) -> None:
    """Print a step's time, and on a GPU its peak memory, for the cuts that the paper has."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, float32"
    images, labels = torch.rand(batch, 3, *scale.window), torch.arange(batch) % 2
    print(f"| ResNeXt3D-101, {where}, batch of {batch} | ms a step | peak memory GB |")
    print("|---|---|---|")
    gpu = device.type == "cuda"
    made, memory, times = {}, {}, {cut: list[float]() for cut in STEPS}
    for strategy, cutoff in STEPS:
        before = torch.cuda.memory_allocated() if gpu else 0
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        made[strategy, cutoff] = step = stepper(
            "resnext3d_101", strategy, cutoff, scale.window, device
        )
        step(images, labels)
        peak = (torch.cuda.max_memory_allocated() - before) / 1e9 if gpu else None
        memory[strategy, cutoff] = "not measured" if peak is None else f"{peak:.2f}"
    for _ in range(scale.rounds):  # turn by turn, so that a slow spell hits all
        for cut, step in made.items():
            begin = time.perf_counter()
            step(images, labels)
            times[cut].append(1e3 * (time.perf_counter() - begin))
    for cut, taken in times.items():
        print(f"| {cut[1] or 'full'} | {statistics.median(taken):.0f} | {memory[cut]} |")


if __name__ == "__main__":
    main()
