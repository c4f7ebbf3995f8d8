"""data=csv: a table with one image a row: path, label(s), optionally split, patient and slice."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from ttl_lightning.data.base import CommonOptions, ImageDataModule, existing_path
from ttl_lightning.data.files import check_split_options, complete_splits
from ttl_lightning.data.samples import (
    SPLIT_NAMES,
    Labels,
    Samples,
    check_classes,
    encode_classes,
    listed,
    task_of,
)
from ttl_lightning.data.store import FileImages
from ttl_lightning.errors import DataError, UnknownNameError

SPLIT_COLUMN, PATIENT_COLUMN = "split", "patient_id"
"""Columns that are used where they exist, unless others are named."""

Table = dict[str, list[str]]


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
            where it is empty or not named.
        classes: for one label column, the classes in the order of their numbers; by default sorted.
        val_fraction: of the images, or of the training images where only some splits are given.
        test_fraction: likewise.

    Raises:
        ConfigError: naming the key that is missing or out of range.
        DataError: if there is no such file.
    """

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
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        check_split_options(val_fraction, test_fraction)
        self.path, self.classes = existing_path(path), classes
        self.root = self.path.parent if root is None else Path(root).expanduser()
        self.path_column, self.slice_column = path_column, slice_column
        one = isinstance(label_columns, str)
        self.label_columns = (str(label_columns),) if one else tuple(label_columns)
        self.split_column, self.patient_column = split_column, patient_column
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self._check_columns(read_header(self.path))

    def load(self) -> tuple[Samples, FileImages]:
        """Read the table.

        Raises:
            DataError: naming the row and column that is not as it should be.
        """
        path, table = self.path, read_table(self.path)
        files = [self.root / name for name in _filled(path, table, self.path_column)]
        labels, names = self._labels(path, table)
        patients = self._optional(path, table, self.patient_column, PATIENT_COLUMN)
        given = self._optional(path, table, self.split_column, SPLIT_COLUMN)
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        splits, notes = complete_splits(
            None if given is None else _splits(path, given, self.split_column or SPLIT_COLUMN),
            labels,
            patients,
            fractions,
            self.seed,
        )
        if patients is None:
            self.notes.append(
                f"{path} has no {PATIENT_COLUMN!r} column: one patient's images may be in two "
                "splits. data.patient_column names the column that says whom an image shows."
            )
        self.notes += notes
        if labels.ndim == 1:
            self.note_positive(names, chosen=self.classes is not None)
        slices = self._slices(path, table)
        samples = Samples(
            ids=tuple(
                name if number is None else f"{name}#{number}"
                for name, number in zip(table[self.path_column], slices, strict=True)
            ),
            labels=labels,
            splits=splits,
            class_names=names,
            task="multilabel" if labels.ndim == 2 else task_of(names),
            patients=None if patients is None else tuple(patients),
        )
        return samples, FileImages(files, slices)

    def _check_columns(self, header: Sequence[str]) -> None:
        for key, name in (
            ("path_column", self.path_column),
            *(("label_columns", column) for column in self.label_columns),
            ("split_column", self.split_column),
            ("patient_column", self.patient_column),
            ("slice_column", self.slice_column),
        ):
            if name is not None and name not in header:
                raise UnknownNameError(f"column for data.{key}", name, header)

    def _labels(self, path: Path, table: Table) -> tuple[Labels, tuple[str, ...]]:
        columns = self.label_columns
        if len(columns) == 1:
            return encode_classes(_filled(path, table, columns[0]), self.classes)
        check_classes(columns)
        values = np.array([_zeros_and_ones(path, table, column) for column in columns], np.float32)
        return np.ascontiguousarray(values.T), columns

    def _optional(
        self, path: Path, table: Table, named: str | None, usual: str
    ) -> list[str] | None:
        column = named if named is not None else usual
        return _filled(path, table, column) if column in table else None

    def _slices(self, path: Path, table: Table) -> list[int | None]:
        if self.slice_column is None:
            return [None] * len(table[self.path_column])
        texts = table[self.slice_column]
        for row, text in enumerate(texts):
            if text and not text.isdecimal():
                raise DataError(_at(path, row, self.slice_column, text, "a number from 0"))
        return [int(text) if text else None for text in texts]


def read_header(path: Path) -> list[str]:
    """Column names of a .csv file.

    Raises:
        DataError: if it is not one, or a name stands for two columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as a .csv file: {error}.") from error
    if not header:
        raise DataError(f"cannot read {path} as a .csv file: it is empty.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: more than one column is called {listed(twice)}.")
    return header


def read_table(path: Path) -> Table:
    """Columns of a .csv file as text without surrounding blanks.

    Raises:
        DataError: naming the row that has more or fewer fields than the header.
    """
    header = read_header(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        next(reader)
        try:
            rows = [row for row in reader if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"cannot read {path} as a .csv file: {error}.") from error
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"{path}, row {number + 1}: {len(row)} fields, not {len(header)}.")
    if not rows:
        raise DataError(f"{path} has no rows below its header.")
    return {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}


def _filled(path: Path, table: Table, column: str) -> list[str]:
    empty = [str(row + 1) for row, text in enumerate(table[column]) if not text]
    if empty:
        raise DataError(f"{path}: column {column!r} is empty in row {listed(empty)}.")
    return table[column]


def _zeros_and_ones(path: Path, table: Table, column: str) -> list[float]:
    numbers = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
    for row, text in enumerate(table[column]):
        if text not in numbers:
            raise DataError(_at(path, row, column, text, "0 or 1"))
    return [numbers[text] for text in table[column]]


def _splits(path: Path, given: list[str], column: str) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    for row, text in enumerate(given):
        if text.lower() not in SPLIT_NAMES:
            raise DataError(_at(path, row, column, text, ", ".join(SPLIT_NAMES)))
    return np.array([SPLIT_NAMES[text.lower()] for text in given])


def _at(path: Path, row: int, column: str, text: str, allowed: str) -> str:
    return f"{path}, row {row + 1}, column {column!r}: got {text!r}, allowed: {allowed}."
