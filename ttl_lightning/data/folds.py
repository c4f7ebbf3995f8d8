"""Cross-validation: samples dealt into parts, of which each is tested once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ttl_lightning.data.samples import Samples
from ttl_lightning.data.splits import split_by_patient, strata

FEWEST, MOST = 3, 100


def in_folds(samples: Samples, folds: int, fold: int, seed: int) -> Samples:
    """All samples, split for one fold: a part is tested, the next one validates, the rest trains.

    Parts are the same for every fold of a seed: each patient's samples are in one of them, and each
    has its share of every class (of numbers, of every fifth). Splits that the source gives are not
    used, and the samples' notes say so.

    Args:
        samples: of a source.
        folds: number of parts.
        fold: which part is tested, from 0.
        seed: of the deal.
    """
    rows = [str(row) for row in range(len(samples.ids))]
    groups = rows if samples.patients is None else samples.patients
    shares = {str(part): 1 / folds for part in range(1, folds)}
    parts = split_by_patient(strata(samples.labels), groups, shares, seed)
    part = np.array([0 if name == "train" else int(name) for name in parts])
    splits = np.full(len(part), "train", dtype="<U5")
    splits[part == fold] = "test"
    splits[part == (fold + 1) % folds] = "val"
    note = (
        f"Fold {fold} of {folds}: {int((splits == 'test').sum())} of {len(part)} samples are "
        "tested, the next fold's validate; splits that the data give are not used."
    )
    return replace(samples, splits=splits, notes=(*samples.notes, note))
