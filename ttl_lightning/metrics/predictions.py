"""`predictions.csv`: a row a sample, to and from named columns, whatever the task."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.records.files import csv_text
from ttl_lightning.records.folder import PREDICTIONS, RunFolder

FIRST = ["id", "split"]
PATIENT = "patient"

Columns = Mapping[str, Sequence[str]]


def as_csv(splits: Mapping[str, Columns]) -> str:
    """The file's text: id, split, and what else there is of each sample.

    Args:
        splits: by name the same columns, `id` among them, as text.
    """
    names = [name for name in next(iter(splits.values()), {}) if name not in FIRST]
    rows = (
        [number, split, *others]
        for split, columns in splits.items()
        for number, *others in zip(columns["id"], *(columns[n] for n in names), strict=True)
    )
    return csv_text([*FIRST, *names], rows)


def read_test(folder: Path) -> dict[str, tuple[str, ...]]:
    """The columns of the test split's rows, as `read_split` gives them."""
    return read_split(folder, "test")


def read_split(folder: Path, split: str) -> dict[str, tuple[str, ...]]:
    """The columns of a split's rows.

    Args:
        folder: the run's.
        split: "val" or "test".

    Raises:
        DataError: if the file is missing or is not such a table.
    """
    path = RunFolder(folder).predictions
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            if header[:2] != FIRST:
                raise DataError(f"{PREDICTIONS} must begin with the columns id and split.")
            table = [row for row in rows if len(row) > 1 and row[1] == split]
    except OSError as error:
        raise DataError(f"{PREDICTIONS} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{PREDICTIONS} cannot be read: {error}.") from error
    if not table:
        raise DataError(f"{PREDICTIONS} has no rows of the {split} split.")
    if any(len(row) != len(header) for row in table):
        raise DataError(f"{PREDICTIONS} has rows that are cut off.")
    return dict(zip(header, zip(*table, strict=True), strict=True))


def numbers(columns: Columns, names: Sequence[str], wanted: str = "") -> Floats:
    """Columns of numbers, (n, names).

    Args:
        columns: as `read_test` gives them.
        names: of the columns.
        wanted: what is said to be missing where there are no names.

    Raises:
        DataError: if one is missing, or holds what is no number.
    """
    missing = [name for name in names if name not in columns]
    if missing or not names:
        raise DataError(f"{PREDICTIONS} has no column {(missing or [wanted])[0]}.")
    try:
        return np.array([columns[name] for name in names], np.float64).T
    except ValueError as error:
        raise DataError(f"{PREDICTIONS} has cells that are no numbers: {error}.") from error
