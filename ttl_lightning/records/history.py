"""`metrics.csv`: a row an epoch, with what was logged in it."""

from __future__ import annotations

import csv
from pathlib import Path

from ttl_lightning.errors import DataError

Row = dict[str, float]


def read(path: Path) -> list[Row]:
    """The rows of the file; what was not logged in an epoch is left out of its row.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{key: float(cell) for key, cell in row.items() if cell} for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
