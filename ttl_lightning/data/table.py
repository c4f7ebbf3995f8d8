"""Tables of samples: .csv files with a header, and what their columns say."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from ttl_lightning.errors import DataError, UnknownNameError

SPLIT_COLUMN, PATIENT_COLUMN = "split", "patient_id"
"""Columns that are used where they exist, unless others are named."""


@dataclass(frozen=True)
class Table:
    """A .csv file's columns, as text without surrounding blanks."""

    path: Path
    columns: Mapping[str, list[str]]

    def filled(self, column: str) -> list[str]:
        """A column without an empty field.

        Raises:
            DataError: naming the rows that are empty.
        """
        texts = self.columns[column]
        empty = [str(row + 1) for row, text in enumerate(texts) if not text]
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

    def error(self, row: int, column: str, allowed: str) -> DataError:
        """That a field does not hold what is allowed."""
        text = self.columns[column][row]
        return DataError(
            f"{self.path}, row {row + 1}, column {column!r}: got {text!r}, allowed: {allowed}."
        )


@dataclass(frozen=True)
class TableOptions:
    """What a table's columns mean.

    Attributes:
        label_columns: one of class names or numbers, or several of 0 and 1 (multilabel).
        split_column: with train, val or test; None: "split" where there is such a column.
        patient_column: whom a row shows; None: "patient_id" where there is such a column.
        classes: for one label column, the classes in the order of their numbers; None: sorted.
        val_fraction: of the rows, or of the training rows where only some splits are given.
        test_fraction: likewise.
    """

    label_columns: tuple[str, ...]
    split_column: str | None
    patient_column: str | None
    classes: Sequence[str] | None
    val_fraction: float
    test_fraction: float

    def check(self, header: Sequence[str], others: Mapping[str, str | None]) -> None:
        """Demand that every column that is named exists, and fractions that leave something.

        Args:
            header: the names that there are.
            others: further columns by their key below `data`; None where none is named.

        Raises:
            UnknownNameError: naming key and column.
            ConfigError: naming the fraction that is out of range.
        """
        check_split_options(self.val_fraction, self.test_fraction)
        for key, name in (
            *others.items(),
            *(("label_columns", column) for column in self.label_columns),
            ("split_column", self.split_column),
            ("patient_column", self.patient_column),
        ):
            if name is not None and name not in header:
                raise UnknownNameError(f"column for data.{key}", name, header)

    def samples(self, table: Table, ids: Sequence[str], seed: int) -> tuple[Samples, list[str]]:
        """What the table says of its rows, and notes about it.

        Args:
            table: with the columns that `check` has found.
            ids: names of the rows.
            seed: of the splits that are drawn.

        Raises:
            DataError: naming the row and column that is not as it should be.
        """
        labels, names = self._labels(table)
        patients = table.optional(self.patient_column, PATIENT_COLUMN)
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        splits, drawn = complete_splits(self._splits(table), labels, patients, fractions, seed)
        notes = [
            f"{table.path} has no {PATIENT_COLUMN!r} column: one patient's images may be in two "
            "splits. data.patient_column names the column that says whom an image shows."
        ]
        samples = Samples(
            ids=tuple(ids),
            labels=labels,
            splits=splits,
            class_names=names,
            task="multilabel" if labels.ndim == 2 else task_of(names),
            patients=None if patients is None else tuple(patients),
        )
        return samples, (notes if patients is None else []) + drawn

    def _labels(self, table: Table) -> tuple[Labels, tuple[str, ...]]:
        columns = self.label_columns
        if len(columns) == 1:
            return encode_classes(table.filled(columns[0]), self.classes)
        check_classes(columns)
        values = np.array([_zeros_and_ones(table, column) for column in columns], np.float32)
        return np.ascontiguousarray(values.T), columns

    def _splits(self, table: Table) -> NDArray[np.str_] | None:
        given = table.optional(self.split_column, SPLIT_COLUMN)
        if given is None:
            return None
        for row, text in enumerate(given):
            if text.lower() not in SPLIT_NAMES:
                column = self.split_column or SPLIT_COLUMN
                raise table.error(row, column, ", ".join(SPLIT_NAMES))
        return np.array([SPLIT_NAMES[text.lower()] for text in given])


def as_columns(given: Sequence[str] | str) -> tuple[str, ...]:
    """One column's name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


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
    """All rows of a .csv file; blank lines are left out.

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
    return Table(path, {name: [row[i].strip() for row in rows] for i, name in enumerate(header)})


def _zeros_and_ones(table: Table, column: str) -> list[float]:
    numbers = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
    for row, text in enumerate(table.columns[column]):
        if text not in numbers:
            raise table.error(row, column, "0 or 1")
    return [numbers[text] for text in table.columns[column]]
