"""Predictions by sample id: each sample once, whatever the number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import distributed

from ttl_lightning.metrics.classification import Labels
from ttl_lightning.metrics.kernel import Floats

Ids = npt.NDArray[np.int64]
Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says about a split, sorted by sample id.

    Attributes:
        ids: position in the split, (n,).
        probabilities: (n, classes).
        labels: class indices (n,), or in multilabel 0, 1 or NaN, (n, classes).
    """

    ids: Ids
    probabilities: Floats
    labels: Labels


def merge(parts: list[tuple[Column, ...]]) -> tuple[Column, ...]:
    """Join parts of a table whose first column is the sample id; the first row of an id is kept.

    Args:
        parts: at least one; each the id column and the others, of equal length.

    Returns:
        the columns, sorted by id.
    """
    filled = [part for part in parts if len(part[0])] or parts[:1]
    columns = [np.concatenate(column) for column in zip(*filled, strict=True)]
    _, first = np.unique(columns[0], return_index=True)
    return tuple(column[first] for column in columns)


def gather(ids: Ids, *columns: Column) -> tuple[Column, ...]:
    """Join the rows of all processes (of one, if there are no others); see `merge`.

    Distributed samplers repeat samples to even out the processes; here each counts once. Every
    process has to call this, also one without rows.
    """
    local: tuple[Column, ...] = (ids, *columns)
    if not (distributed.is_available() and distributed.is_initialized()):
        return merge([local])
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, local)
    return merge(parts)
