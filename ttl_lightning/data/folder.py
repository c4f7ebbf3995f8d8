"""data=folder: image files in class sub-folders, root/<class>/ or root/<split>/<class>/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Unpack

import numpy as np

from ttl_lightning.data.base import CommonOptions, ImageDataModule, existing_path
from ttl_lightning.data.content import listing_hash
from ttl_lightning.data.files import check_split_options, complete_splits
from ttl_lightning.data.images import SUFFIXES
from ttl_lightning.data.samples import SPLIT_NAMES, Samples, encode_classes, listed, task_of
from ttl_lightning.data.store import FileImages
from ttl_lightning.errors import DataError

SYSTEM_FILES = {"Thumbs.db", "desktop.ini"}


class _Found(NamedTuple):
    path: Path
    label: str
    split: str


class FolderDataModule(ImageDataModule):
    """One sub-folder a class, optionally below one folder a split (train, val, test).

    Splits that are not given are drawn by class. Folders do not name patients, so they cannot be
    drawn by patient; a run says so.

    Args:
        path: the root folder.
        classes: names of the class folders in the order of their numbers; by default sorted.
        val_fraction: of the images, or of the training images where only some splits are given.
        test_fraction: likewise.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(
        self,
        *,
        name: str = "folder",
        on_duplicate: str = "raise",
        path: str | Path | None = None,
        classes: Sequence[str] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        check_split_options(val_fraction, test_fraction)
        self.path, self.classes = existing_path(path), classes
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        if not self.path.is_dir():
            raise DataError(f"data.path must be a folder of class folders, {path} is a file.")

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the images' names below the root, which tell class and split, and of their sizes."""
        root = existing_path(options["path"])
        found, _ = find_images(root)
        files = ((entry.path.relative_to(root).as_posix(), entry.path) for entry in found)
        return {"listing": listing_hash(files)}

    def load(self) -> tuple[Samples, FileImages]:
        """List the files.

        Raises:
            DataError: if there are no class folders, or they hold no images.
        """
        root = self.path
        found, strange = find_images(root)
        if strange:
            named = listed([path.relative_to(root).as_posix() for path in strange])
            self.notes.append(f"{len(strange)} files are no images by their names: {named}.")
        labels, names = encode_classes([entry.label for entry in found], self.classes)
        given = np.array([entry.split for entry in found]) if found[0].split else None
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        splits, notes = complete_splits(given, labels, None, fractions, self.seed)
        self.notes.append("Folders name no patients: one patient's images may be in two splits.")
        self.notes += notes
        self.note_positive(names, chosen=self.classes is not None)
        samples = Samples(
            ids=tuple(entry.path.relative_to(root).as_posix() for entry in found),
            labels=labels,
            splits=splits,
            class_names=names,
            task=task_of(names),
        )
        return samples, FileImages([entry.path for entry in found])


def find_images(root: Path) -> tuple[list[_Found], list[Path]]:
    """Image files below a root with their class and split ("" where the root has none).

    Returns:
        The images in the order of their paths, and the files that are none by their names.

    Raises:
        DataError: if there are no class folders, or they hold no images.
    """
    folders = _folders(root)
    by_split = bool(folders) and all(folder.name.lower() in SPLIT_NAMES for folder in folders)
    found: list[_Found] = []
    strange: list[Path] = []
    for top in folders if by_split else [root]:
        split = SPLIT_NAMES[top.name.lower()] if by_split else ""
        for folder in _folders(top):
            for path in sorted(folder.rglob("*")):
                if path.is_dir() or path.name.startswith(".") or path.name in SYSTEM_FILES:
                    continue
                if path.name.lower().endswith(SUFFIXES):
                    found.append(_Found(path, folder.name, split))
                else:
                    strange.append(path)
    if not found:
        raise DataError(
            f"data.path: no images in {root}; it must hold <class>/<image> or "
            f"<split>/<class>/<image>, with names that end in {', '.join(SUFFIXES)}."
        )
    return found, strange


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
