"""The data of a second job of a sweep: what its set-up decodes and hashes, and how long it takes.

    python benchmarks/second_sweep.py [--images 10000] [--side 64] [--smoke]

It writes so many PNGs, and sets up a `DataModule` over them with a disk cache, then another, as
each job of a sweep does in a process of its own. The reader counts what is decoded; as every pixel
that is hashed comes out of it, nothing decoded is nothing hashed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import ImageView, Loading
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source

SMOKE = 50


class CountedFiles(FileImages):
    """Image files that know how many of them were decoded."""

    def __init__(self, paths: list[Path]) -> None:
        """Of these paths."""
        super().__init__(paths)
        self.decoded: list[int] = []  # to which threads append one at a time

    def read(self, row: int) -> Reading:
        """Decode one."""
        self.decoded.append(row)
        return super().read(row)


@dataclass(frozen=True, kw_only=True)
class Written(Source):
    """The files, in turn of two classes and in fifths of training, and one each of the others."""

    name: str = "written"
    reader: CountedFiles
    files: tuple[Path, ...]

    def load(self, side: int) -> Samples:  # noqa: ARG002 - files have their own
        """Say which file is what."""
        rows = np.arange(len(self.files))
        return Samples(
            ids=tuple(path.name for path in self.files),
            labels=rows % 2,
            splits=np.array(["train", "train", "train", "val", "test"])[rows % 5],
            class_names=("even", "odd"),
            reader=self.reader,
        )


def main() -> None:
    """Measure and print; a second set-up that decodes anything is a failure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} images")
    options = parser.parse_args()
    count = SMOKE if options.smoke else options.images
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder), count, options.side)
        print(f"| {count:,} PNGs of {options.side} pixels | decoded | s |\n|---|---|---|")
        found = [set_up(files, Path(folder) / "cache", options.side) for _ in range(2)]
    for name, (decoded, seconds) in zip(("first", "second"), found, strict=True):
        print(f"| {name} set-up | {decoded:,} | {seconds:.2f} |")
    print(f"\nThe second took {found[1][1] / found[0][1]:.1%} of the first.")
    if found[1][0]:
        raise SystemExit("the second set-up decoded images that the first had in its cache")


def written(folder: Path, count: int, side: int) -> tuple[Path, ...]:
    """Distinct grey PNGs."""
    rng = np.random.default_rng(0)
    files = tuple(folder / f"{number}.png" for number in range(count))
    for path in files:
        Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(path)
    return files


def set_up(files: tuple[Path, ...], cache: Path, side: int) -> tuple[int, float]:
    """Images decoded by a set-up, and its seconds."""
    reader = CountedFiles(list(files))
    loading = Loading(cache="disk", cache_dir=cache)
    data = DataModule(Written(reader=reader, files=files), ImageView(image_size=side), loading)
    begin = time.perf_counter()
    data.setup()
    return len(reader.decoded), time.perf_counter() - begin


if __name__ == "__main__":
    main()
