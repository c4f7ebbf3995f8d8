"""data=folder: image files in class sub-folders, root/<class>/ or root/<split>/<class>/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ttl_lightning.data.content import listing_hash
from ttl_lightning.data.readers.picture import SUFFIXES, FileImages, is_image
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.samples import SPLIT_NAMES, Samples, listed, positive_note
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.splits import check_fractions, complete_splits
from ttl_lightning.data.tables.labels import encode_classes, unified
from ttl_lightning.errors import DataError, check_number

# what file managers and archives leave
NO_DATA = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN"}


class _Found(NamedTuple):
    path: Path
    label: str
    split: str


@dataclass(frozen=True, kw_only=True)
class FolderSource(Source):
    """One sub-folder a class, optionally below one folder a split (train, val, test).

    Splits that are not given are drawn by class. Folders do not name patients, so they cannot be
    drawn by patient; a run says so. Of a file with several images the middle one is read, and a run
    counts such files, and all else that is left out of one (`reading.LeftOut`).

    Attributes:
        path: the root folder.
        classes: names of the class folders in the order of their numbers; by default sorted.
        val_fraction: of the images, or of the training images where only some splits are given.
        test_fraction: likewise.
        max_pixels: of a picture; a larger one is refused before it is decoded.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    name: str = "folder"
    path: str | Path | None = None
    classes: Sequence[str] | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    max_pixels: int = MOST_PIXELS

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_number("data.max_pixels", self.max_pixels, 1, 10**12, integer=True)
        check_fractions({"val": self.val_fraction, "test": self.test_fraction})
        if not existing_path(self.path).is_dir():
            raise DataError(f"data.path must be a folder of class folders, {self.path} is a file.")

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the images' names below the root, which tell class and split, and of their sizes."""
        root = existing_path(options["path"])
        found, _ = find_images(root)
        files = ((entry.path.relative_to(root).as_posix(), entry.path) for entry in found)
        return {"listing": listing_hash(files)}

    def load(self, side: int) -> Samples:
        """List the files.

        Raises:
            DataError: if there are no class folders, or they hold no images.
        """
        root = existing_path(self.path)
        found, strange = find_images(root)
        notes = []
        if strange:
            named = listed([printable(path.relative_to(root).as_posix()) for path in strange])
            notes.append(
                f"{len(strange)} files are left out, since they are no images by their names or "
                f"lie in no class folder: {named}."
            )
        labels, names = encode_classes([entry.label for entry in found], self.classes)
        given = np.array([entry.split for entry in found]) if found[0].split else None
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        splits, drawn = complete_splits(given, labels, None, fractions, self.seed)
        notes.append("Folders name no patients: one patient's images may be in two splits.")
        return Samples(
            ids=tuple(printable(entry.path.relative_to(root).as_posix()) for entry in found),
            labels=labels,
            splits=splits,
            class_names=names,
            reader=FileImages([entry.path for entry in found], None, self.max_pixels),
            notes=(*notes, *drawn, *positive_note(names, chosen=self.classes is not None)),
        )


def find_images(root: Path) -> tuple[list[_Found], list[Path]]:
    """Image files below a root with their class and split ("" where the root has none).

    Folders are splits where some of them have a split's usual name and class folders below; then
    all of them must be splits, with the same classes in each. Hidden files and folders, and what
    archives leave, are no part of the data.

    Returns:
        The images in the order of their paths, and the files that are none by their names, or lie
        in no class folder.

    Raises:
        DataError: if there are no class folders, one holds no images, or folders do not fit.
    """
    found: list[_Found] = []
    strange: list[Path] = []
    empty: list[Path] = []
    splits = _split_folders(root)
    for top in dict.fromkeys((root, *splits)):
        strange += [path for path in _visible(top) if not path.is_dir()]
    for top, split in splits.items():
        for folder in _folders(top):
            files = list(_files_below(folder))
            images = [path for path in files if is_image(path)]
            strange += [path for path in files if not is_image(path)]
            found += [_Found(path, folder.name, split) for path in images]
            empty += [] if images else [folder]
    if not found:
        raise DataError(
            f"data.path: no images in {root}; it must hold <class>/<image> or "
            f"<split>/<class>/<image>, with names that end in {', '.join(SUFFIXES)}."
        )
    if empty:
        raise DataError(
            f"data.path: no images in the class folder {listed([str(path) for path in empty])}, by "
            f"names that end in {', '.join(SUFFIXES)}: fill it, or move it away."
        )
    _check_classes(root, found)
    return found, strange


def _split_folders(root: Path) -> dict[Path, str]:
    """The folders that hold class folders, with their splits: the root alone where it has none.

    Raises:
        DataError: naming the folders that do not fit beside those of splits.
    """
    folders = _folders(root)
    called = {folder: SPLIT_NAMES.get(folder.name.lower(), "") for folder in folders}
    splits = {folder: split for folder, split in called.items() if split and _folders(folder)}
    if not splits:
        if folders and all(called.values()):
            raise DataError(
                f"data.path: {listed([folder.name for folder in folders])} in {root} are splits by "
                "their names and hold no class folders: it must be <split>/<class>/<image>."
            )
        return {root: ""}
    beside = [folder.name for folder in folders if folder not in splits]
    if beside:
        raise DataError(
            f"data.path: {listed(beside)} in {root} is no split with class folders, and "
            f"{listed([folder.name for folder in splits])} beside it are: move it away, or make it "
            "<split>/<class>/<image> too."
        )
    twice = [
        folder.name for folder, split in splits.items() if list(called.values()).count(split) > 1
    ]
    if twice:
        raise DataError(f"data.path: {listed(twice)} in {root} are the same split by their names.")
    return splits


def _check_classes(root: Path, found: Sequence[_Found]) -> None:
    """Demand several classes, spelt alike and the same in every split.

    Raises:
        DataError: naming those that are not.
    """
    by_split: dict[str, dict[str, None]] = {}
    for entry in found:
        by_split.setdefault(entry.split, {})[entry.label] = None
    labels = list(dict.fromkeys(entry.label for entry in found))
    if len(labels) == 1:
        inner = next((f for f in _folders(root) if len(_folders(f)) > 1), None)
        hint = f" Did you mean data.path={inner}?" if inner else ""
        raise DataError(
            f"at least two classes, each once, are needed; got {listed(labels)} in {root}.{hint}"
        )
    _, merged = unified(labels)
    if merged:
        name, others = next(iter(merged.items()))
        raise DataError(
            f"data.path: the class folders {name!r} and {listed(others)} in {root} differ only in "
            "how they are written: give a class one name."
        )
    for split, names in by_split.items():
        lacking = [label for label in labels if label not in names]
        if lacking:
            raise DataError(
                f"data.path: the {split} split in {root} has no class folder {listed(lacking)}, "
                f"which {listed([s for s in by_split if lacking[0] in by_split[s]])} has."
            )


def printable(name: str) -> str:
    r"""A file's name for tables and texts; bytes that are no UTF-8 as `\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _folders(root: Path) -> list[Path]:
    return [path for path in _visible(root) if path.is_dir()]


def _files_below(folder: Path) -> Iterator[Path]:
    """Files at any depth, in the order of their paths; links to folders are not followed."""
    for path in _visible(folder):
        if not path.is_dir():
            yield path
        elif not path.is_symlink():
            yield from _files_below(path)


def _visible(folder: Path) -> list[Path]:
    """What a person put into a folder, in order."""
    paths = (p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in NO_DATA)
    return sorted(paths)
