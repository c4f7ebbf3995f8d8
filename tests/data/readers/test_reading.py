from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.making import data_of
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.reading import LeftOut, left_out_notes, to_storage
from ttl_lightning.data.sources.folder import FolderSource
from ttl_lightning.data.sources.table import CsvSource
from ttl_lightning.data.store import Store
from ttl_lightning.data.views.fit import ImageForm

MIDDLE = "the middle one of each was read. For volumes: data=volumes; for single slices: data=csv"


def write_pages(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(f"{path.parent.name}{path.name}".encode()))
    images = [Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)) for _ in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.zeros((2, 4, 4, 3)), r"got shape \(2, 4, 4, 3\)"),
        (np.zeros((4, 4, 2)), r"got shape \(4, 4, 2\)"),
        (np.zeros((0, 4)), "no pixels"),
        (np.full((2, 2), 3.0), "pixels from 3 to 3 exceed 0–1"),
        (np.full((2, 2), np.inf), "4 of 4 pixels are NaN or infinite"),
    ],
)
def test_pixels_that_cannot_be_stored(values: np.ndarray, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        to_storage(values, 0, 1)


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert left_out_notes([LeftOut()] * 3, ["a", "b", "c"]) == []


def test_each_kind_is_counted_and_one_file_named() -> None:
    found = [LeftOut(), LeftOut(images=3), LeftOut(images=24, deep=True), LeftOut(deep=True)]
    several, deep = left_out_notes(found, ["a.png", "b.tif", "{c}.tif", "d.png"])
    assert several == (
        f"2 of 4 files hold several images (up to 24: {{c}}.tif); {MIDDLE} with data.slice_column."
    )
    assert deep == (
        "2 of 4 files hold colour, or grey with alpha, of more than 8 bits a channel (such as "
        "{c}.tif); the upper 8 of them were read."
    )


@pytest.mark.parametrize("kind", [name for name in LeftOut._fields if name != "images"])
def test_every_kind_has_a_sentence(kind: str) -> None:
    (note,) = left_out_notes([LeftOut(), LeftOut()._replace(**{kind: True})], ["a", "b.tif"])
    assert note.startswith("1 of 2 files ")
    assert "(such as b.tif)" in note
    assert note.endswith(".")


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_a_folder_says_that_files_have_several_pages(cache: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for k in range(8):
            write_pages(tmp_path / "images" / name / f"{k}.tif", 1 if k % 2 else 3 + k)
    for _ in range(2):  # the second time from the cache, where there is one
        data = data_of(
            FolderSource,
            path=tmp_path / "images",
            image_size=16,
            cache=cache,
            cache_dir=tmp_path / "cache",
        )
        data.setup()
        (note,) = [note for note in data.notes if "several images" in note]
        assert note.startswith("8 of 16 files hold several images (up to 9: ")
        assert MIDDLE in note


def test_a_file_is_named_that_is_used(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for k in range(8):
            write_pages(tmp_path / name / f"{k}.tif", 2)
    (tmp_path / "a" / "0.tif").write_bytes(b"")
    data = data_of(FolderSource, path=tmp_path, image_size=16, on_bad_image="skip")
    data.setup()
    (note,) = [note for note in data.notes if "several images" in note]
    assert note.startswith("15 of 15 files hold several images (up to 2: a/1.tif)")


@pytest.mark.parametrize("chosen", [True, False])
def test_a_table_says_it_where_it_does_not_choose_the_slice(chosen: bool, tmp_path: Path) -> None:
    with (tmp_path / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "slice"])
        for k in range(16):
            write_pages(tmp_path / f"{k}.tif", 4)
            table.writerow([f"{k}.tif", "ab"[k % 2], "0" if k else ""])
    column = "slice" if chosen else None
    data = data_of(CsvSource, path=tmp_path / "list.csv", image_size=16, slice_column=column)
    data.setup()
    (note,) = [note for note in data.notes if "several images" in note]
    # where it chooses, all rows but the first do
    assert note.startswith(f"{1 if chosen else 16} of 16 files hold several images (up to 4: 0.tif")


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_a_scan_knows_what_was_left_out(cache: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (16, 16, 4), dtype=np.uint8)) for _ in range(4)]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    for _ in range(2):  # the second time from the cache, where there is one
        store = Store(FileImages([tmp_path / "x.png"]), ImageForm(16, 3), cache, tmp_path / "cache")
        store.scan("raise", 0, "images")
        assert store.facts(0).left_out == LeftOut(images=4, alpha=True)
