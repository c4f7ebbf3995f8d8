"""data=csv: a table with one image a row: path, label(s), optionally split, patient and slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ttl_lightning.data.content import file_hash, listing_hash
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.tables.table import TableOptions
from ttl_lightning.data.tables.text import Table, read_header, read_table
from ttl_lightning.errors import check_number


@dataclass(frozen=True, kw_only=True)
class CsvSource(TableOptions, Source):
    """Image files listed in a .csv file with a header.

    One label column holds class names or numbers; several hold 0 or 1 each.

    Attributes:
        path: the .csv file.
        root: folder that relative image paths start from; by default the .csv file's.
        path_column: with the images' paths.
        slice_column: which slice of a volume or page of a file to take, from 0; the middle one
            where it is empty or not named, and a run counts the files of which that leaves some.
        max_pixels: of a picture; a larger one is refused before it is decoded.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file.
    """

    places: ClassVar[tuple[str, ...]] = ("path", "root")
    has_numbers: ClassVar[bool] = True

    name: str = "csv"
    path: str | Path | None = None
    root: str | Path | None = None
    path_column: str = "path"
    slice_column: str | None = None
    max_pixels: int = MOST_PIXELS

    def __post_init__(self) -> None:
        """Check what was given, and the table's header."""
        super().__post_init__()
        check_number("data.max_pixels", self.max_pixels, 1, 10**12, integer=True)
        others = {"path_column": self.path_column, "slice_column": self.slice_column}
        path = existing_path(self.path)
        self.check(read_header(path), others, path)

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

    def load(self, side: int) -> Samples:
        """Read the table.

        Raises:
            DataError: naming the row and column that is not as it should be.
        """
        path = existing_path(self.path)
        table = self.usable(read_table(path))
        names = table.filled(self.path_column)
        slices = self._slices(table)
        ids = [
            name if number is None else f"{name}#{number}"
            for name, number in zip(names, slices, strict=True)
        ]
        root = _root(path, self.root)
        samples = self.samples(table, ids, self.seed)
        reader = FileImages([root / name for name in names], slices, self.max_pixels)
        return replace(samples, reader=reader)

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
