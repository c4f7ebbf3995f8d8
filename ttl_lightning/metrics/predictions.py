"""A run's test predictions, read back from its `predictions.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.metrics.paired import Scored

FILE_NAME = "predictions.csv"
LABEL, LABELS, PROBABILITY = "label", "label/", "probability/"

Columns = Mapping[str, tuple[str, ...]]


def read_test(folder: Path, task: object = None) -> Scored:
    """Read the test split's rows.

    Args:
        folder: the run's.
        task: "binary", "multiclass" or "multilabel", as its result says; where it says nothing,
            two classes of which an image has one are a binary task.

    Raises:
        DataError: if the file is missing or is not such a table.
    """
    path = folder / FILE_NAME
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            if header[:2] != ["id", "split"]:
                raise DataError(f"{FILE_NAME} must begin with the columns id and split.")
            table = [row for row in rows if len(row) > 1 and row[1] == "test"]
    except OSError as error:
        raise DataError(f"{FILE_NAME} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{FILE_NAME} cannot be read: {error}.") from error
    if not table:
        raise DataError(f"{FILE_NAME} has no rows of the test split.")
    if any(len(row) != len(header) for row in table):
        raise DataError(f"{FILE_NAME} has rows that are cut off.")
    columns = dict(zip(header, zip(*table, strict=True), strict=True))
    names = [name.removeprefix(PROBABILITY) for name in header if name.startswith(PROBABILITY)]
    scores = _numbers(columns, [PROBABILITY + name for name in names])
    if not np.isfinite(scores).all():
        raise DataError(f"{FILE_NAME} has probabilities that are not finite.")
    targets = _targets(columns, names)
    if len(names) == 2 and LABEL in columns and task != "multiclass":
        scores, targets = scores[:, 1:], targets[:, 1:]
    return Scored(columns["id"], scores, targets)


def _targets(columns: Columns, names: list[str]) -> Floats:
    if LABEL not in columns:
        targets = _numbers(columns, [LABELS + name for name in names])
        if not np.isin(targets[~np.isnan(targets)], (0, 1)).all():
            raise DataError(f"{FILE_NAME} has labels other than 0, 1 and nan.")
        return targets
    number = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(columns[LABEL]) - number.keys())
    if unknown:
        raise DataError(f"{FILE_NAME} has the label {unknown[0]!r}, which is no class.")
    return np.eye(len(names))[[number[name] for name in columns[LABEL]]]


def _numbers(columns: Columns, names: list[str]) -> Floats:
    missing = [name for name in names if name not in columns]
    if missing or not names:
        raise DataError(f"{FILE_NAME} has no column {(missing or [PROBABILITY + '…'])[0]}.")
    try:
        return np.array([columns[name] for name in names], np.float64).T
    except ValueError as error:
        raise DataError(f"{FILE_NAME} has cells that are no numbers: {error}.") from error
