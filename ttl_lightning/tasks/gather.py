"""Rows by sample id: each sample once, whatever the number of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

Rows = dict[str, npt.NDArray[Any]]
"""Columns of equal length by name, `id` among them."""


def merge(parts: list[Rows]) -> Rows:
    """Join parts of a table; the first row of an id is kept.

    Args:
        parts: at least one; those without rows may lack columns.

    Returns:
        the columns, sorted by id.
    """
    filled = [part for part in parts if len(part["id"])] or parts[:1]
    columns = {key: np.concatenate([part[key] for part in filled]) for key in filled[0]}
    _, first = np.unique(columns["id"], return_index=True)
    return {key: column[first] for key, column in columns.items()}


def gather(rows: Rows) -> Rows:
    """Join the rows of all processes (of one, if there are no others); see `merge`.

    Distributed samplers repeat samples to even out the processes; here each counts once. Every
    process has to call this, also one without rows.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return merge([rows])
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, rows)
    return merge(parts)
