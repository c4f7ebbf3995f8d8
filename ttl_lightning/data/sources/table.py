"""data=csv: a table with one image a row: path, label(s), optionally split, patient and slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

from ttl_lightning.data.content import file_hash, listing_hash
from ttl_lightning.data.image_module import CommonOptions, ImageDataModule, existing_path
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.store import FileImages
from ttl_lightning.data.tables.table import TableOptions, as_columns
from ttl_lightning.data.tables.text import Table, read_header, read_table
from ttl_lightning.errors import check_number


class CsvDataModule(ImageDataModule):
    """Image files listed in a .csv file with a header.

    One label column holds class names or numbers; several hold 0 or 1 each (multilabel).

    Args:
        path: the .csv file.
        root: folder that relative image paths start from; by default the .csv file's.
        path_column: with the images' paths.
        label_columns: with the labels.
        split_column: with train, val or test; by default "split" where there is such a column.
        patient_column: whom an image shows; by default "patient_id" where there is such a column.
        slice_column: which slice of a volume or page of a file to take, from 0; the middle one
            where it is empty or not named, and a run counts the files of which that leaves some.
        classes: for one label column, the classes in the order of their numbers; by default sorted.
        val_fraction: of the images, or of the training images where only some splits are given.
        test_fraction: likewise.
        max_pixels: of a picture; a larger one is refused before it is decoded.
        missing: what a label is that is not known, and
        uncertain: what one of -1 is; see `TableOptions`.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file.
    """

    places: ClassVar[tuple[str, ...]] = ("path", "root")

    def __init__(
        self,
        *,
        name: str = "csv",
        on_duplicate: str = "raise",
        path: str | Path | None = None,
        root: str | Path | None = None,
        path_column: str = "path",
        label_columns: Sequence[str] | str = ("label",),
        split_column: str | None = None,
        patient_column: str | None = None,
        slice_column: str | None = None,
        classes: Sequence[str] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        max_pixels: int = MOST_PIXELS,
        missing: str = "error",
        uncertain: str = "error",
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        check_number("data.max_pixels", max_pixels, 1, 10**12, integer=True)
        self.max_pixels = max_pixels
        self.path = existing_path(path)
        self.root = _root(self.path, root)
        self.path_column, self.slice_column = path_column, slice_column
        self.table_options = TableOptions(
            as_columns(label_columns),
            split_column,
            patient_column,
            classes,
            val_fraction,
            test_fraction,
            missing,
            uncertain,
        )
        others = {"path_column": path_column, "slice_column": slice_column}
        self.table_options.check(read_header(self.path), others, self.path)

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the table's bytes, which name the images and their splits, and of the images' sizes.

        Raises:
            DataError: if there is no such table, or it is not one.
        """
        path = existing_path(options["path"])
        root = _root(path, options["root"])
        names = read_table(path).columns[options["path_column"]]
        listing = listing_hash((name, root / name) for name in names)
        return {"table": file_hash(path), "listing": listing}

    def load(self) -> tuple[Samples, FileImages]:
        """Read the table.

        Raises:
            DataError: naming the row and column that is not as it should be.
        """
        table, left_out = self.table_options.usable(read_table(self.path))
        names = table.filled(self.path_column)
        slices = self._slices(table)
        ids = [
            name if number is None else f"{name}#{number}"
            for name, number in zip(names, slices, strict=True)
        ]
        samples, notes = self.table_options.samples(table, ids, self.seed)
        self.notes += left_out + notes
        if samples.task != "multilabel":
            chosen = self.table_options.classes is not None
            self.note_positive(samples.class_names, chosen=chosen)
        return samples, FileImages([self.root / name for name in names], slices, self.max_pixels)

    def _slices(self, table: Table) -> list[int | None]:
        if self.slice_column is None:
            return [None] * len(table.columns[self.path_column])
        texts = table.columns[self.slice_column]
        for row, text in enumerate(texts):
            if text and not text.isdecimal():
                raise table.error(row, self.slice_column, "a number from 0")
        return [int(text) if text else None for text in texts]


def _root(path: Path, root: str | Path | None) -> Path:
    """Where relative image paths start."""
    return path.parent if root is None else Path(root).expanduser()
