from __future__ import annotations

from pathlib import Path

import pytest

from ttl_lightning.data.folder import FolderDataModule, find_images
from ttl_lightning.errors import ConfigError, DataError


def names(*groups: str, count: int = 4) -> list[str]:
    return [f"{group}/{i}.png" for group in groups for i in range(count)]


def test_class_folders_are_split_by_class(write_images, tmp_path: Path) -> None:
    write_images(names("normal", "covid", count=20))
    data = FolderDataModule(path=tmp_path, image_size=16, val_fraction=0.1, test_fraction=0.2)
    data.setup()
    assert data.class_names == ("covid", "normal")
    for split, count in (("train", 14), ("val", 2), ("test", 4)):
        assert data.labels(split).tolist().count(1) == count
        assert all(
            data.class_names[label] == Path(name).parent.name
            for name, label in zip(data.sample_ids(split), data.labels(split), strict=True)
        )
    assert "one patient's images may be in two splits" in data.notes[0]
    assert "The positive class is 'normal'; data.classes sets the order." in data.notes
    chosen = FolderDataModule(path=tmp_path, image_size=16, classes=["normal", "covid"])
    chosen.setup()
    assert chosen.class_names == ("normal", "covid")
    assert not any("positive" in note for note in chosen.notes)


def test_split_folders_are_taken_as_given(write_images, tmp_path: Path) -> None:
    write_images(names("train/a", "train/b", "Validation/a", "Validation/b", "test/a", "test/b"))
    data = FolderDataModule(path=tmp_path, image_size=16, eval_view="whole")
    data.setup()
    assert data.sample_ids("val")[0] == "Validation/a/0.png"
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [8, 8, 8]
    assert len(data.notes) == 2


def test_a_missing_validation_folder_is_drawn_from_training(write_images, tmp_path: Path) -> None:
    write_images([*names("train/a", "train/b", count=10), *names("test/a", "test/b")])
    data = FolderDataModule(path=tmp_path, image_size=16, val_fraction=0.2)
    data.setup()
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [16, 4, 8]
    assert "No val split is given: drawn from the training samples." in data.notes
    assert all(name.startswith("train/") for name in data.sample_ids("val"))


def test_other_files_are_noted_and_system_files_ignored(write_images, tmp_path: Path) -> None:
    write_images([*names("a/deep", "b"), "b/.hidden.png"])
    (tmp_path / "a" / "notes.txt").write_text("")
    (tmp_path / "a" / "Thumbs.db").write_text("")
    found, strange = find_images(tmp_path)
    assert len(found) == 8
    assert {entry.label for entry in found} == {"a", "b"}
    assert [path.name for path in strange] == ["notes.txt"]
    data = FolderDataModule(path=tmp_path, image_size=16)
    data.setup()
    assert "1 files are no images by their names: 'a/notes.txt'." in data.notes


def test_seeds_split_differently_and_repeat(write_images, tmp_path: Path) -> None:
    write_images(names("a", "b", count=20))
    ids = []
    for seed in (0, 0, 1):
        data = FolderDataModule(path=tmp_path, image_size=16, seed=seed)
        data.setup()
        ids.append(data.sample_ids("test"))
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_bad_folders(write_images, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"data.path: no images in .*; it must hold <class>/<image>"
    ):
        FolderDataModule(path=tmp_path).setup()
    write_images(names("one/a"))
    with pytest.raises(DataError, match="at least two classes, each once, are needed; got 'a'"):
        FolderDataModule(path=tmp_path / "one").setup()
    write_images(names("two/train/a", "two/train/b", "two/val/a", "two/test/a", "two/test/c"))
    with pytest.raises(DataError, match="no training sample of class 'c'"):
        FolderDataModule(path=tmp_path / "two").setup()
    with pytest.raises(DataError, match=r"data.classes gives 2 classes .* 'c' not among them"):
        FolderDataModule(path=tmp_path / "two", classes=["a", "b"]).setup()
    write_images(names("three/a", "three/b"))
    with pytest.raises(DataError, match="the val split is empty"):
        FolderDataModule(path=tmp_path / "three", val_fraction=0.0).setup()
    with pytest.raises(DataError, match="is a file"):
        FolderDataModule(path=tmp_path / "three" / "a" / "0.png")
    with pytest.raises(ConfigError, match=r"data.val_fraction must be a number from 0 to 1, got 3"):
        FolderDataModule(path=tmp_path / "three", val_fraction=3)
    with pytest.raises(ConfigError, match="must be below 1"):
        FolderDataModule(path=tmp_path / "three", val_fraction=0.5, test_fraction=0.5)
