"""Small images and files that the tests of the data layer make themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.readers.base import ArrayImages
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.errors import DataError

WriteImages = Callable[..., list[Path]]


@pytest.fixture
def write_images(tmp_path: Path) -> WriteImages:
    """Write distinct grey PNGs below tmp_path; a name's folders are made."""

    def write(names: list[str], size: int = 16) -> list[Path]:
        paths = []
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(list(name.encode()))
            Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(path)
            paths.append(path)
        return paths

    return write


class CountingImages(ArrayImages):
    """Counts how often an image is read."""

    reads = 0

    def read(self, row: int) -> Reading:
        self.reads += 1
        return super().read(row)


@pytest.fixture
def counting_images() -> CountingImages:
    rng = np.random.default_rng(0)
    return CountingImages(rng.integers(0, 256, (7, 20, 20), dtype=np.uint8))


class ArrayStudies:
    """Volumes held in memory, which counts how often one is read; None stands for a bad one."""

    decoders = 1

    def __init__(self, volumes: list[np.ndarray | None], *, version: int = 0) -> None:
        self.volumes, self.version, self.reads = volumes, version, 0

    def __len__(self) -> int:
        return len(self.volumes)

    def read(self, row: int) -> Reading:
        self.reads += 1
        volume = self.volumes[row]
        if volume is None:
            raise DataError(f"cannot read study {row}.")
        return Reading(volume)

    def fingerprint(self, row: int) -> str:
        return f"{self.version}|{row}"


@pytest.fixture
def array_studies() -> ArrayStudies:
    """Four studies of 7, 3, 12 and 7 slices of 20 × 26 pixels, in Hounsfield units."""
    rng = np.random.default_rng(0)
    return ArrayStudies(
        [rng.integers(-1024, 1500, (n, 20, 26), dtype=np.int16) for n in (7, 3, 12, 7)]
    )
