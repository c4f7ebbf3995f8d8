"""Splits as they are given; else drawn, each patient in one part and every class in proportion."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import SPLITS, Labels
from ttl_lightning.errors import ConfigError, check_number


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
    splits[pool] = split_by_patient(strata(labels[pool]), groups, missing, seed)
    drawn = " and ".join(missing)
    notes = (
        [] if given is None else [f"No {drawn} split is given: drawn from the training samples."]
    )
    return splits, notes


def split_by_patient(
    labels: Labels,
    patients: Sequence[Hashable],
    fractions: Mapping[str, float],
    seed: int,
) -> NDArray[np.str_]:
    """Give each sample to "train" or to one of the named parts, all of a patient's to the same.

    Patients are dealt out, those with most images first, each to the part that is furthest behind
    its share of the patient's classes (Webster's rule for seats). So single-image patients split
    every class to within one image of its share, whole patients as closely as their sizes allow.
    scikit-learn's StratifiedGroupKFold deals in the same way, but into equal folds, from single
    labels only, and not with classes rarer than its folds.

    Args:
        labels: (n,) class numbers or (n, L) of zeros and ones, NaN where not labelled.
        patients: one an image; give each image its own where patients are unknown.
        fractions: share of each part beside "train", such as {"val": 0.15, "test": 0.15}.
        seed: decides among patients that are equal in size and classes.

    Returns:
        (n,) names of parts.

    Raises:
        ConfigError: if the fractions leave nothing to train on.
    """
    check_fractions(fractions)
    parts = ["train", *(name for name, share in fractions.items() if share > 0)]
    shares = np.array([1 - sum(fractions.values()), *(fractions[name] for name in parts[1:])])
    member = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    group = np.array([member[patient] for patient in patients], np.int64)
    counts = np.zeros((len(member), _columns(labels).shape[1]))
    np.add.at(counts, group, _columns(labels))
    totals = np.maximum(counts.sum(0), 1)

    order = np.random.default_rng(seed).permutation(len(member))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    held = np.zeros((len(parts), counts.shape[1]))
    part_of = np.empty(len(member), np.int64)
    for g in order:
        filled = (held + counts[g] / 2) / shares[:, None]
        part_of[g] = np.argmin(filled @ (counts[g] / totals**2))
        held[part_of[g]] += counts[g]
    return np.array(parts)[part_of[group]]


def strata(labels: Labels) -> Labels:
    """What a draw keeps in proportion: classes as they are; of numbers, in which fifth each is."""
    if labels.ndim == 1 or np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        return labels
    parts = []
    for column in labels.T:
        edges = np.nanquantile(column, (0.2, 0.4, 0.6, 0.8))
        fifth = np.searchsorted(np.unique(edges), column, side="right")
        fifth[np.isnan(column)] = -1
        parts.append(np.arange(len(edges) + 1) == fifth[:, None])
    return np.hstack(parts).astype(np.float32)


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Demand that the parts beside "train" leave something to train on.

    Raises:
        ConfigError: naming the key, or the keys and their sum.
    """
    for name, share in fractions.items():
        check_number(f"data.{name}_fraction", share, 0, 1)
    total = sum(fractions.values())
    if total >= 1:
        keys = " + ".join(f"data.{name}_fraction" for name in fractions)
        raise ConfigError(f"{keys} must be below 1, got {total:g}.")


def _columns(labels: Labels) -> NDArray[np.float64]:
    """Indicator columns (n, K); where several may hold, one more for samples of which none does."""
    if labels.ndim == 2:
        known = labels == 1  # one that is not labelled counts as none here
        return np.hstack([known, ~known.any(1, keepdims=True)]).astype(np.float64)
    return np.eye(int(labels.max(initial=0)) + 1)[labels]
