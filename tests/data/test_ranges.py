from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.making import data_of
from ttl_lightning.data.ranges import spread_notes, window_notes
from ttl_lightning.data.sources.folder import FolderSource
from ttl_lightning.errors import DataError


def test_a_few_dark_images_are_no_news() -> None:
    assert spread_notes(np.array([0.05, 0.9, 0.9]), "images") == []
    (note,) = spread_notes(np.array([0.05, 0.06, 0.9]), "images")
    assert "2 of 3 images fill less than 10% of the range" in note
    assert "5.5%" in note


def test_a_run_says_that_twelve_bits_lie_in_sixteen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for k in range(8):
            pixels = rng.integers(0, 4096, (24, 24)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    data = data_of(FolderSource, path=tmp_path, image_size=16)
    data.setup()
    assert any("16 of 16 images fill less than 10%" in note for note in data.notes)


WINDOW = (-100.0, 900.0)


def test_studies_in_other_units_than_the_window_are_refused() -> None:
    with pytest.raises(DataError, match=r"from 0 to 1, which fill 0\.1% of data\.hu_window=\[-100"):
        window_notes(np.zeros(3), np.ones(3), WINDOW)
    with pytest.raises(DataError, match=r"fill 0\.0% of"):
        window_notes(np.full(2, 2000.0), np.full(2, 3000.0), WINDOW)


def test_some_such_studies_are_counted() -> None:
    assert window_notes(np.array([-1000.0]), np.array([1500.0]), WINDOW) == []
    (note,) = window_notes(np.array([-1000.0, 0]), np.array([1500.0, 1]), WINDOW)
    assert note.startswith("1 of 2 studies fill less than 2% of data.hu_window=[-100, 900]")
