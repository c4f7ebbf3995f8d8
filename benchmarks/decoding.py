"""JPEGs of 1024 pixels as 256-pixel squares: images a second of a run's first look at its files.

    python benchmarks/decoding.py                  # 400 files, grey and colour, a minute
    python benchmarks/decoding.py --images 10000   # needs some gigabytes beside it

Ours decodes, resizes, hashes and looks at the values of each; beside it Pillow and torchvision that
decode and resize alone, one thread each; Pillow's draft mode lets the JPEG library leave out every
second row and column while it decodes. Ours is shown with one thread and with all, and for a second
job of a sweep, which reads what the first one left. They take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional

from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.store import Store
from ttl_lightning.data.views.fit import ImageForm

SIDE, STORED = 1024, 256


class OneThread(FileImages):
    """Image files that are decoded one after the other."""

    decoders = 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    count, rounds = (6, 1) if options.smoke else (options.images, options.rounds)
    torch.set_num_threads(1)
    print(f"{count:,} JPEGs of {SIDE} pixels to {STORED}, {os.cpu_count()} processors; images/s\n")
    print("| | grey | colour |\n|---|---|---|")
    found = [measured(mode, count, rounds) for mode in ("L", "RGB")]
    for name in found[0]:
        print(f"| {name} | {found[0][name]:.0f} | {found[1][name]:.0f} |")


def measured(mode: str, count: int, rounds: int) -> dict[str, float]:
    """Median images a second of each way, by turns."""
    with tempfile.TemporaryDirectory() as place:
        files = written(Path(place), mode, count)
        speeds: dict[str, list[float]] = {}
        for turn in range(rounds):
            cache = Path(place, f"cache{turn}")
            for name, way in ways(files, cache).items():
                begun = time.perf_counter()
                way()
                speeds.setdefault(name, []).append(count / (time.perf_counter() - begun))
    return {name: median(found) for name, found in speeds.items()}


def ways(files: Sequence[Path], cache: Path) -> dict[str, Callable[[], object]]:
    """Each reads all files; what the last one reads the one before has left in the cache."""
    many, one = FileImages(list(files)), OneThread(list(files))

    def ours(reader: FileImages, kind: str) -> Callable[[], object]:
        form = ImageForm(STORED, 3)
        return lambda: Store(reader, form, kind, cache).scan("raise", 0, "images")

    return {
        "Pillow, whole": lambda: [pillow(file) for file in files],
        "Pillow, draft": lambda: [pillow(file, draft=True) for file in files],
        "torchvision": lambda: [vision(file) for file in files],
        "ours, one thread": ours(one, "memory"),
        "ours": ours(many, "memory"),
        "ours, onto the disk": ours(many, "disk"),
        "ours, a second job": ours(many, "disk"),
    }


def pillow(file: Path, *, draft: bool = False) -> np.ndarray:
    """Decode and resize."""
    with Image.open(file) as image:
        if draft:
            image.draft(None, (2 * STORED, 2 * STORED))
        return np.asarray(image.resize((STORED, STORED), Image.Resampling.BILINEAR))


def vision(file: Path) -> torch.Tensor:
    """Decode and resize."""
    image = decode_image(str(file), ImageReadMode.UNCHANGED)
    return functional.resize(image, [STORED, STORED], antialias=True)


def written(folder: Path, mode: str, count: int) -> list[Path]:
    """Distinct JPEGs of smooth noise, which compress about as photographs do."""
    rng = np.random.default_rng(0)
    files = [folder / f"{number}.jpg" for number in range(count)]
    for file in files:
        coarse = rng.integers(0, 256, (64, 64, *((3,) if mode == "RGB" else ())), np.uint8)
        fine = rng.normal(0, 6, (SIDE, SIDE, *coarse.shape[2:])).astype(np.float32)
        image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = (np.asarray(image, np.float32) + fine).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, quality=90)
    return files


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
