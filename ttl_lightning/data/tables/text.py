"""Files of separated text as people save them: which encoding, which separator, which columns."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import SPLIT_NAMES, SPLITS, listed
from ttl_lightning.data.tables.labels import fold, is_missing
from ttl_lightning.errors import DataError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
# Rows that the separator is judged by.
LOOKED_AT = 50
SPLIT_COLUMN, PATIENT_COLUMN = "split", "patient_id"
"""Columns that are used where they exist, unless others are named."""
BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}
OTHER_KINDS = {b"PK\x03\x04": "an Excel file or a .zip", b"\xd0\xcf\x11\xe0": "an old Excel file",
               b"\x1f\x8b": "a .gz file", b"%PDF": "a .pdf"}  # fmt: skip


class Columns(Mapping[str, list[str]]):
    """Columns by their names, whose case and blanks do not matter."""

    def __init__(self, columns: Mapping[str, list[str]]) -> None:
        self._columns = dict(columns)
        self._names = {fold(name): name for name in columns}

    def __getitem__(self, name: str) -> list[str]:
        return self._columns[self._names[fold(str(name))]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True)
class Table:
    """A file's columns, as text without surrounding blanks.

    Attributes:
        path: of the file.
        columns: by name.
        numbers: of the rows as a person counts them, the first below the header being 1.
        notes: how the file was read, where that was not plain.
    """

    path: Path
    columns: Mapping[str, list[str]]
    numbers: Sequence[int]
    notes: Sequence[str] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """These rows only.

        Raises:
            DataError: if there are none.
        """
        if not len(rows):
            raise DataError(f"{self.path}: no row is left.")
        columns = {name: [texts[row] for row in rows] for name, texts in self.columns.items()}
        return replace(self, columns=Columns(columns), numbers=[self.numbers[row] for row in rows])

    def filled(self, column: str) -> list[str]:
        """A column without an empty field.

        Raises:
            DataError: naming the rows that are empty.
        """
        texts = self.columns[column]
        empty = [str(self.numbers[row]) for row, text in enumerate(texts) if is_missing(text)]
        if empty:
            raise DataError(f"{self.path}: column {column!r} is empty in row {listed(empty)}.")
        return texts

    def optional(self, named: str | None, usual: str) -> list[str] | None:
        """The column that is named; else the usual one, where there is such a column.

        Raises:
            DataError: naming the rows that are empty.
        """
        column = named if named is not None else usual
        return self.filled(column) if column in self.columns else None

    def splits(self, named: str | None) -> NDArray[np.str_] | None:
        """The splits of the column that is named, else of "split"; None without such a column.

        Raises:
            DataError: naming the row that has no split's usual name.
        """
        given = self.optional(named, SPLIT_COLUMN)
        if given is None:
            return None
        for row, text in enumerate(given):
            if text.lower() not in SPLIT_NAMES:
                raise self.error(row, named or SPLIT_COLUMN, ", ".join(SPLITS))
        return np.array([SPLIT_NAMES[text.lower()] for text in given])

    def error(self, row: int, column: str, allowed: str) -> DataError:
        """That a field does not hold what is allowed."""
        text = self.columns[column][row]
        return DataError(
            f"{self.path}, row {self.numbers[row]}, column {column!r}: got {text!r}, allowed: "
            f"{allowed}."
        )


def read_header(path: Path) -> list[str]:
    """Column names of a table, without surrounding blanks.

    Raises:
        DataError: if it is not one, or a name stands for two columns.
    """
    return _read(path)[0]


def read_table(path: Path) -> Table:
    """All rows of a table; blank lines are left out.

    Raises:
        DataError: naming the row that has more or fewer fields than the header.
    """
    header, rows, notes = _read(path)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"{path}, row {number + 1}: {len(row)} fields, not {len(header)}.")
    if not rows:
        raise DataError(f"{path} has no rows below its header.")
    columns = {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}
    return Table(path, Columns(columns), range(1, len(rows) + 1), notes)


def _read(path: Path) -> tuple[list[str], list[list[str]], list[str]]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("it is no file")  # noqa: TRY301 - a pipe would be waited for
        text, encoding = _decoded(path.read_bytes())
        if "\0" in text:
            raise ValueError("it holds characters of 0, as no text does")  # noqa: TRY301
        separator = _separator(text)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [row for row in lines if any(field.strip() for field in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path} as a .csv file: {error}.") from error
    if not rows:
        raise DataError(f"cannot read {path} as a .csv file: it is empty.")
    header = [name.strip() for name in rows[0]]
    folded = [fold(name) for name in header]
    twice = sorted(
        {name for name, key in zip(header, folded, strict=True) if folded.count(key) > 1}
    )
    if twice:
        raise DataError(f"{path}: more than one column is called {listed(twice)}.")
    notes = []
    if encoding != "utf-8":
        notes.append(f"{path.name} is read as {encoding}.")
    if separator != ",":
        notes.append(f"{path.name} is separated by {SEPARATORS[separator]}.")
    return header, rows[1:], notes


def _decoded(content: bytes) -> tuple[str, str]:
    """The text, and its encoding's name.

    Raises:
        ValueError: if it is no text.
    """
    for start, kind in OTHER_KINDS.items():
        if content.startswith(start):
            raise ValueError(f"it is {kind}; save it as text with commas")
    for bom, encoding in BOMS.items():
        if content.startswith(bom):
            return content.decode(encoding), "utf-8" if encoding == "utf-8-sig" else "UTF-16"
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "Latin-1, since it is not UTF-8"


def _separator(text: str) -> str:
    """The separator that gives the header most columns, of those that fit the rows below it too."""
    first = text.splitlines()[:LOOKED_AT]
    judged = []
    for rank, separator in enumerate(SEPARATORS):
        try:
            rows = [row for row in csv.reader(first, delimiter=separator) if row]
        except csv.Error:
            continue
        counts = {len(row) for row in rows}
        columns = len(rows[0]) if rows else 0
        judged.append((len(counts) == 1 and columns > 1, columns, -rank, separator))
    return max(judged)[-1] if judged else ","
