"""What data are, wherever they lie."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.content import file_hash, file_mark, listing_hash, pixel_hash
from ttl_lightning.data.sources.folder import FolderSource
from ttl_lightning.data.sources.medmnist import MedMNISTSource
from ttl_lightning.data.sources.studies import StudiesSource
from ttl_lightning.data.sources.table import CsvSource
from ttl_lightning.errors import DataError


def test_a_files_hash_is_of_its_bytes_and_not_read_twice(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"1234")
    assert file_hash(path) == hashlib.sha256(b"1234").hexdigest()
    moved = shutil.copy(path, tmp_path / "b.npz")
    assert file_hash(Path(moved)) == file_hash(path)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert file_hash(path) == hashlib.sha256(b"1234").hexdigest()
    monkeypatch.undo()
    path.write_bytes(b"1235")
    os.utime(path, ns=(1, 1))  # of the same size
    assert file_hash(path) == hashlib.sha256(b"1235").hexdigest()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz"):
        file_hash(tmp_path / "none.npz")


def test_a_listing_is_of_names_and_sizes(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "22"), ("c", "22")):
        (tmp_path / name).write_text(text)
    files = [(name, tmp_path / name) for name in "abc"]
    first = listing_hash(files)
    assert listing_hash(reversed(files)) == first
    assert listing_hash(files[:2]) != first
    assert listing_hash([("x", files[0][1]), *files[1:]]) != first
    (tmp_path / "a").write_text("333")
    grown = listing_hash(files)
    (tmp_path / "a").unlink()
    assert len({first, grown, listing_hash(files)}) == 3


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "here"
    for split in ("train", "val", "test"):
        for label in ("ill", "well"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(2):
                noise = np.random.default_rng(i).integers(0, 256, (9, 9), np.uint8)
                Image.fromarray(noise).save(folder / f"{i}.png")
    rows = [f"{p.relative_to(root).as_posix()},{p.parent.name}" for p in root.rglob("*.png")]
    (root / "table.csv").write_text("\n".join(["path,label", *sorted(rows)]) + "\n")
    return root


@pytest.mark.parametrize(
    ("source", "file", "options"),
    [
        (FolderSource, "", {}),
        (CsvSource, "table.csv", {"root": None, "path_column": "path"}),
    ],
)
def test_files_elsewhere_are_the_same_data(source, file, options, pictures, tmp_path) -> None:
    def content(root: Path) -> dict[str, str]:
        return source.content({"path": str(root / file), **options})

    first = content(pictures)
    assert first
    there = shutil.copytree(pictures, tmp_path / "there")
    (there / "train" / "ill" / "Thumbs.db").write_text("of no concern")
    assert content(there) == first
    Image.new("L", (40, 40), 7).save(there / "train" / "ill" / "0.png")
    assert content(there) != first


def test_a_class_or_split_that_changes_is_other_data(pictures) -> None:
    table = pictures / "table.csv"
    options = {"path": str(table), "root": None, "path_column": "path"}
    before = CsvSource.content(options), FolderSource.content({"path": str(pictures)})
    table.write_text(table.read_text().replace("train/ill/0.png,ill", "train/ill/0.png,wel"))
    shutil.move(pictures / "val" / "ill" / "0.png", pictures / "train" / "ill" / "2.png")
    after = CsvSource.content(options), FolderSource.content({"path": str(pictures)})
    assert before[0]["table"] != after[0]["table"]
    assert before[1] != after[1]


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_studies_are_their_table_and_their_files(kind, tmp_path) -> None:
    root = tmp_path / "here"
    for study in ("one", "two"):
        (root / study).mkdir(parents=True)
        (root / study / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + study.encode())
    np.savez(root / "studies.npz", one=np.zeros((2, 3, 3)), two=np.ones((2, 3, 3)))
    (root / "labels.csv").write_text("study,label\none,0\ntwo,1\n")

    def content(root: Path) -> dict[str, str]:
        path = root / "studies.npz" if kind == "archive" else root
        return StudiesSource.content({"path": str(path), "labels": None, "study_column": "study"})

    first = content(root)
    there = shutil.copytree(root, tmp_path / "there")
    assert content(there) == first
    (there / "labels.csv").write_text("study,label\none,1\ntwo,1\n")
    assert content(there)["table"] != first["table"]
    (there / "one" / "b.dcm").write_bytes(b"\0" * 128 + b"DICM")
    np.savez(there / "studies.npz", one=np.zeros((2, 3, 3)), two=np.zeros((2, 3, 3)))
    other = {key: value for key, value in content(there).items() if key != "table"}
    assert other
    assert all(value != first[key] for key, value in other.items())


def test_a_download_is_what_its_package_demands() -> None:
    medmnist = pytest.importorskip("medmnist")
    for size, key in ((28, "MD5"), (64, "MD5_64")):
        found = MedMNISTSource.content({"dataset": "pneumoniamnist", "source_size": size})
        assert found == {"md5": medmnist.INFO["pneumoniamnist"][key]}


def test_hash_sees_values_shape_and_type() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    others = [image + 1, image.reshape(1, 2, 8), image.view(np.int8), image.astype(np.uint16)]
    assert len({pixel_hash(i) for i in (image, *others)}) == 5
    assert pixel_hash(image) == pixel_hash(image.copy())


def test_a_files_mark_is_its_place_time_and_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    marks = set()
    for text, time in (("1", 1), ("1", 2), ("22", 2)):
        path.write_text(text)
        os.utime(path, ns=(time, time))
        marks.add(file_mark(path))
    other = Path(shutil.copy2(path, tmp_path / "b"))
    assert len({*marks, file_mark(other)}) == 4
