"""Small images and files that the tests of the data layer make themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.store import ArrayImages

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

    def read(self, row: int) -> np.ndarray:
        self.reads += 1
        return super().read(row)


@pytest.fixture
def counting_images() -> CountingImages:
    rng = np.random.default_rng(0)
    return CountingImages(rng.integers(0, 256, (7, 20, 20), dtype=np.uint8))
