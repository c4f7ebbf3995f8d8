"""data=masks and data=masks3d: images, or volumes, and their masks, in folders or in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ttl_lightning.data.content import file_hash, listing_hash
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.masks import NPZ, MaskFiles, MaskStudies, Meaning, meaning_of
from ttl_lightning.data.readers.picture import SUFFIXES, FileImages
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.readers.studies import StudyFiles, find_studies
from ttl_lightning.data.samples import Samples, listed
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.sources.pairs import named_files, paired
from ttl_lightning.data.splits import check_fractions, complete_splits
from ttl_lightning.data.tables.labels import unified
from ttl_lightning.data.tables.text import PATIENT_COLUMN, Table, read_table
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError, DataError, check_number

NOTHING_TO_TELL = ("image",)
"""The one class of images that are not classified."""


class Pairs(NamedTuple):
    """Images with the files of their masks' layers, by name."""

    images: dict[str, Path]
    masks: dict[str, list[list[Path]]]


@dataclass(frozen=True, kw_only=True)
class MasksSource(Source):
    """Images and masks: two folders, or a .csv file that lists both.

    A mask belongs to the image whose name its own begins with, the longest such one: `7.png`,
    `7_mask.png` and `7_left.png` to `7.jpg`. Several of one image are joined.

    Attributes:
        path: the folder that holds both folders, or the .csv file.
        image_folder: below the path.
        mask_folder: likewise; several have a region each, named as they are, and may overlap.
        regions: values in masks by region, grey or [red, green, blue]; the background is 0, and 255
            is not known unless it is listed. Without it masks have 0 and one other value.
        image_column: of the .csv file, with paths seen from its folder.
        mask_column: likewise; several have a region each and may overlap. A field may list several
            files, apart by ";", which are joined.
        split_column: with train, val, test; "split" where there is one.
        patient_column: whom an image shows; "patient_id" where there is one.
        val_fraction: drawn, by patient where known, if no val split is given.
        test_fraction: likewise.
        max_pixels: of a picture; a larger one is refused before it is decoded.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file or folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    name: str = "masks"
    path: str | Path | None = None
    image_folder: str = "images"
    mask_folder: str | Sequence[str] = "masks"
    regions: Mapping[str, Any] | None = None
    image_column: str = "image"
    mask_column: str | Sequence[str] = "mask"
    split_column: str | None = None
    patient_column: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    max_pixels: int = MOST_PIXELS

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_number("data.max_pixels", self.max_pixels, 1, 10**12, integer=True)
        check_fractions({"val": self.val_fraction, "test": self.test_fraction})
        meaning_of(self.regions)
        layers = self.layers
        if len(layers) > 1 and self.regions is not None:
            raise ConfigError(
                f"data.regions goes with one mask folder or column; of several "
                f"({', '.join(layers)}) each is a region."
            )
        existing_path(self.path)

    @property
    def layers(self) -> tuple[str, ...]:
        """Folders or columns of masks, of which several may overlap."""
        given = self.mask_column if self._listed else self.mask_folder
        return (given,) if isinstance(given, str) else tuple(given)

    @property
    def _listed(self) -> bool:
        return existing_path(self.path).is_file()

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the table's bytes, and of the names and sizes of images and masks."""
        taken = {field.name for field in fields(cls)}
        own = cls(**{key: value for key, value in options.items() if key in taken})
        path = existing_path(own.path)
        pairs, _ = own.pairs()
        root = path.parent if path.is_file() else path
        every = [*pairs.images.values(), *(f for m in pairs.masks.values() for fs in m for f in fs)]
        listing = listing_hash((str(file.relative_to(root)), file) for file in every)
        return {"listing": listing, **({"table": file_hash(path)} if path.is_file() else {})}

    def load(self, side: int) -> Samples:
        """Pair the files.

        Raises:
            DataError: naming images without masks, masks without images, or the row of the table.
        """
        del side
        pairs, table = self.pairs()
        ids = tuple(pairs.images)
        labels, given, patients = np.zeros(len(ids), np.int64), None, None
        if table is not None:
            given = table.splits(self.split_column)
            patients = table.optional(self.patient_column, PATIENT_COLUMN)
            # two spellings of one patient must not end up in two splits
            patients = patients and unified(patients)[0]
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        splits, notes = complete_splits(given, labels, patients, fractions, self.seed)
        meaning, regions = meaning_of(self.regions)
        overlap = len(self.layers) > 1
        return Samples(
            ids=ids,
            labels=labels,
            splits=splits,
            class_names=NOTHING_TO_TELL,
            patients=None if patients is None else tuple(patients),
            reader=self.reader(list(pairs.images.values())),
            notes=tuple(notes),
            masks=self.mask_reader(list(pairs.masks.values()), meaning),
            regions=self.layers if overlap else regions,
            overlap=overlap,
        )

    def reader(self, paths: list[Path]) -> Reader:
        """Of the images."""
        return FileImages(paths, None, self.max_pixels)

    def mask_reader(self, files: list[list[list[Path]]], meaning: Meaning) -> Reader:
        """Of their masks, by row and layer."""
        return MaskFiles(files, meaning, self.max_pixels)

    def found(self, folder: Path) -> dict[str, Path]:
        """Images or masks below a folder by their names, without suffix."""
        return named_files(folder, (*SUFFIXES, *NPZ))

    def pairs(self) -> tuple[Pairs, Table | None]:
        """Images and masks by the images' names, and the table that lists them, if there is one."""
        path = existing_path(self.path)
        if path.is_file():
            return self._of_table(path)
        images = self.found(_folder(path, "image_folder", self.image_folder))
        masks: dict[str, list[list[Path]]] = {name: [] for name in images}
        for layer in self.layers:
            folder = _folder(path, "mask_folder", layer)
            of_image = paired(images, self.found(folder), folder)
            for name, files in of_image.items():
                masks[name].append(files)
        return Pairs(images, masks), None

    def _of_table(self, path: Path) -> tuple[Pairs, Table]:
        table = read_table(path)
        for column in (self.image_column, *self.layers):
            if column not in table.columns:
                raise DataError(
                    f"{path} has no column {column!r}; it has {listed(list(table.columns))}. "
                    "data.image_column and data.mask_column name them."
                )
        names = table.filled(self.image_column)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: the same image is in two rows: {listed(twice)}.")
        layers = [table.filled(column) for column in self.layers]
        images = {name: path.parent / name for name in names}
        masks = {
            name: [[path.parent / one.strip() for one in files.split(";")] for files in row]
            for name, row in zip(names, zip(*layers, strict=True), strict=True)
        }
        missing = [
            str(file)
            for file in (*images.values(), *(f for m in masks.values() for fs in m for f in fs))
            if not file.exists()
        ]
        if missing:
            raise DataError(f"{path} lists files that are not there: {listed(missing)}.")
        return Pairs(images, masks), table


@dataclass(frozen=True, kw_only=True)
class Masks3dSource(MasksSource):
    """Volumes and their masks, likewise: NIfTI files or folders with one DICOM series each.

    Training sees windows of slices, half of them about what masks mark; evaluation whole volumes.
    """

    view = WindowView
    defaults: ClassVar[Mapping[str, Any]] = {
        "image_size": (32, 48, 48),
        "hu_window": None,
        "windows_per_study": 4,
    }

    name: str = "masks3d"

    def reader(self, paths: list[Path]) -> Reader:
        """Of the volumes."""
        return StudyFiles(paths)

    def mask_reader(self, files: list[list[list[Path]]], meaning: Meaning) -> Reader:
        """Of their masks.

        Raises:
            DataError: if a volume has several.
        """
        several = [row for row in files if len(row) > 1 or len(row[0]) > 1]
        if several:
            raise DataError(
                f"a volume has one mask file, and {several[0][0][0].name} is one of several: join "
                "them, with a value for each region."
            )
        return MaskStudies([row[0][0] for row in files], meaning)

    def found(self, folder: Path) -> dict[str, Path]:
        """Volumes or masks below a folder by their names."""
        return find_studies(folder)


def _folder(root: Path, key: str, name: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        there = listed(sorted(path.name for path in root.iterdir() if path.is_dir()))
        raise DataError(f"data.path: {root} has no folder {name!r} (data.{key}); it has {there}.")
    return folder
