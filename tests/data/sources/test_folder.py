from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.data.making import data_of
from ttl_lightning.data.sources.folder import FolderSource, find_images
from ttl_lightning.errors import ConfigError, DataError


def names(*groups: str, count: int = 4) -> list[str]:
    return [f"{group}/{i}.png" for group in groups for i in range(count)]


def test_class_folders_are_split_by_class(write_images, tmp_path: Path) -> None:
    write_images(names("normal", "covid", count=20))
    data = data_of(FolderSource, path=tmp_path, image_size=16, val_fraction=0.1, test_fraction=0.2)
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
    chosen = data_of(FolderSource, path=tmp_path, image_size=16, classes=["normal", "covid"])
    chosen.setup()
    assert chosen.class_names == ("normal", "covid")
    assert not any("positive" in note for note in chosen.notes)


def test_split_folders_are_taken_as_given(write_images, tmp_path: Path) -> None:
    write_images(names("train/a", "train/b", "Validation/a", "Validation/b", "test/a", "test/b"))
    data = data_of(FolderSource, path=tmp_path, image_size=16, eval_view="whole")
    data.setup()
    assert data.sample_ids("val")[0] == "Validation/a/0.png"
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [8, 8, 8]
    assert len(data.notes) == 2


def test_a_missing_validation_folder_is_drawn_from_training(write_images, tmp_path: Path) -> None:
    write_images([*names("train/a", "train/b", count=10), *names("test/a", "test/b")])
    data = data_of(FolderSource, path=tmp_path, image_size=16, val_fraction=0.2)
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
    data = data_of(FolderSource, path=tmp_path, image_size=16)
    data.setup()
    assert any("1 files are left out" in n and "'a/notes.txt'." in n for n in data.notes)


def test_seeds_split_differently_and_repeat(write_images, tmp_path: Path) -> None:
    write_images(names("a", "b", count=20))
    ids = []
    for seed in (0, 0, 1):
        data = data_of(FolderSource, path=tmp_path, image_size=16, seed=seed)
        data.setup()
        ids.append(data.sample_ids("test"))
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


@pytest.mark.parametrize("splits", [("Training", "Testing"), ("TRAIN", "Test"), ("train", "dev")])
def test_split_folders_by_their_usual_names(splits, write_images, tmp_path: Path) -> None:
    write_images(names(*(f"{split}/{label}" for split in splits for label in "ab"), count=10))
    write_images(["__MACOSX/Training/a/0.png", ".git/x/0.png", "logo.png"])
    data = data_of(FolderSource, path=tmp_path, image_size=16)
    data.setup()
    assert data.class_names == ("a", "b")
    held = "val" if splits[1] == "dev" else "test"
    assert all(name.startswith(splits[1]) for name in data.sample_ids(held))
    assert any("'logo.png'" in note for note in data.notes)


def test_what_archives_leave_and_hidden_folders_are_no_classes(
    write_images, tmp_path: Path
) -> None:
    write_images([*names("a", "b"), *names("__MACOSX", ".cache", "a/.thumbs", count=1)])
    found, strange = find_images(tmp_path)
    assert ({entry.label for entry in found}, len(found), strange) == ({"a", "b"}, 8, [])


MISFITS = {
    "one more": (["train/a", "train/b", "test/a", "test/b", "unlabelled"], r"'unlabelled' in"),
    "a class more": (["train/a", "train/b", "test/a", "test/b", "Extra/a/deep"], "'Extra' in"),
    "two of a split": (["train/a", "train/b", "Training/a", "Training/b"], "the same split"),
    "no classes": (["train", "test"], "splits by their names and hold no class folders"),
    "a class less": (["train/a", "train/b", "train/c", "test/a", "test/b"], "no class folder 'c'"),
    "other case": (["Normal", "normal", "sick"], "differ only in how they are written"),
    "one inside": (["chest/train/a", "chest/train/b", "chest/test/a", "chest/test/b"],
                   r"Did you mean data\.path=.*chest\?"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_folder_that_does_not_fit_is_named(name: str, write_images, tmp_path: Path) -> None:
    folders, text = MISFITS[name]
    write_images(names(*folders))
    with pytest.raises(DataError, match=text):
        data_of(FolderSource, path=tmp_path).setup()


def test_an_empty_class_folder_is_named(write_images, tmp_path: Path) -> None:
    write_images(names("a", "b"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"no images in the class folder '.*c', by names"):
        data_of(FolderSource, path=tmp_path).setup()


def test_links_to_folders_do_not_run_in_circles(write_images, tmp_path: Path) -> None:
    write_images(names("a", "b"))
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert len(find_images(tmp_path)[0]) == 8


def test_bad_folders(write_images, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"data.path: no images in .*; it must hold <class>/<image>"
    ):
        data_of(FolderSource, path=tmp_path).setup()
    write_images(names("one/a"))
    with pytest.raises(DataError, match="at least two classes, each once, are needed; got 'a'"):
        data_of(FolderSource, path=tmp_path / "one").setup()
    write_images(names("two/train/a", "two/train/b", "two/train/c"))
    with pytest.raises(DataError, match=r"data.classes gives 2 classes .* 'c' not among them"):
        data_of(FolderSource, path=tmp_path / "two", classes=["a", "b"]).setup()
    write_images(names("three/a", "three/b"))
    with pytest.raises(DataError, match="the val split is empty"):
        data_of(FolderSource, path=tmp_path / "three", val_fraction=0.0).setup()
    with pytest.raises(DataError, match="is a file"):
        data_of(FolderSource, path=tmp_path / "three" / "a" / "0.png")
    with pytest.raises(ConfigError, match=r"data.val_fraction must be a number from 0 to 1, got 3"):
        data_of(FolderSource, path=tmp_path / "three", val_fraction=3)
    with pytest.raises(ConfigError, match="must be below 1"):
        data_of(FolderSource, path=tmp_path / "three", val_fraction=0.5, test_fraction=0.5)


def test_a_name_that_is_no_utf8_can_be_written_down(write_images, tmp_path: Path) -> None:
    write_images(names("a", "b", count=8))
    strange = os.fsencode(tmp_path / "a") + b"/\xff.png"
    os.rename(os.fsencode(tmp_path / "a" / "0.png"), strange)  # noqa: PTH104 - bytes
    data = data_of(FolderSource, path=tmp_path, image_size=16)
    data.setup()
    ids = [name for split in ("train", "val", "test") for name in data.sample_ids(split)]
    assert r"a/\udcff.png" in ids
    "".join(ids).encode("utf-8")
