"""What folder and csv share: splitting files whose splits are not, or only partly, given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import SPLITS, Labels
from ttl_lightning.data.splits import check_fractions, split_by_patient
from ttl_lightning.errors import check_number


def check_split_options(val_fraction: float, test_fraction: float) -> None:
    """Demand fractions that leave something to train on.

    Raises:
        ConfigError: naming the key.
    """
    check_number("data.val_fraction", val_fraction, 0, 1)
    check_number("data.test_fraction", test_fraction, 0, 1)
    check_fractions({"val": val_fraction, "test": test_fraction})


def complete_splits(
    given: NDArray[np.str_] | None,
    labels: Labels,
    patients: Sequence[str] | None,
    fractions: dict[str, float],
    seed: int,
) -> tuple[NDArray[np.str_], list[str]]:
    """Splits as given, with those that are missing drawn from the training samples by patient.

    Args:
        given: one of train, val and test for each sample, or None where the source has no splits.
        labels: of all samples.
        patients: one for each sample, or None where unknown.
        fractions: of the training samples, for each split that may have to be drawn.
        seed: of the draw.

    Returns:
        Split of each sample, and notes about what was drawn.
    """
    splits = np.full(len(labels), "train", dtype="<U5") if given is None else given.astype("<U5")
    missing = {s: fractions[s] for s in SPLITS if s in fractions and not (splits == s).any()}
    if not missing:
        return splits, []
    pool = np.flatnonzero(splits == "train")
    groups = [str(row) if patients is None else patients[int(row)] for row in pool]
    splits[pool] = split_by_patient(labels[pool], groups, missing, seed)
    drawn = " and ".join(missing)
    notes = (
        [] if given is None else [f"No {drawn} split is given: drawn from the training samples."]
    )
    return splits, notes
