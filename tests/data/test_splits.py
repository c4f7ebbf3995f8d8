from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ttl_lightning.data.splits import check_fractions, complete_splits, split_by_patient
from ttl_lightning.errors import ConfigError

FRACTIONS = {"val": 0.15, "test": 0.2}
LABELS, SHARES = np.tile([0, 1], 20), {"val": 0.2, "test": 0.2}


def singles(labels: np.ndarray, fractions: dict[str, float], seed: int) -> np.ndarray:
    return split_by_patient(labels, range(len(labels)), fractions, seed)


@pytest.mark.parametrize("seed", range(5))
def test_single_images_split_each_class_to_within_one(seed: int) -> None:
    labels = np.random.default_rng(seed).choice(3, 400, p=[0.7, 0.25, 0.05])
    splits = singles(labels, FRACTIONS, seed)
    for label in range(3):
        count = (labels == label).sum()
        for split, share in {"train": 0.65, **FRACTIONS}.items():
            assert abs(((splits == split) & (labels == label)).sum() - share * count) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_leaks_and_shares_are_close(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 120, 600)
    labels = (rng.random(120) < 0.3).astype(np.int64)[patients]
    splits = split_by_patient(labels, patients.tolist(), FRACTIONS, seed)
    for patient in range(120):
        assert len(set(splits[patients == patient])) <= 1
    for split, share in {"train": 0.65, **FRACTIONS}.items():
        part = splits == split
        assert abs(part.mean() - share) < 0.03
        assert abs(labels[part].mean() - labels.mean()) < 0.05


def test_multilabel_is_stratified_by_label_and_by_none() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((500, 4)) < [0.4, 0.2, 0.1, 0.05]).astype(np.float32)
    splits = singles(labels, FRACTIONS, 0)
    columns = np.hstack([labels, ~labels.any(1, keepdims=True)])
    for column in columns.T:
        for split, share in FRACTIONS.items():
            held = column[splits == split].sum()
            assert abs(held - share * column.sum()) <= 0.06 * column.sum() + 1


def test_seed_decides_and_repeats() -> None:
    labels = np.tile([0, 1], 50)
    first, again, other = (singles(labels, FRACTIONS, seed) for seed in (4, 4, 5))
    assert (first == again).all()
    assert (first != other).any()


def test_rare_classes_stay_in_training() -> None:
    labels = np.array([0] * 30 + [1])
    assert singles(labels, FRACTIONS, 0)[30] == "train"


def test_no_fraction_leaves_all_in_training() -> None:
    splits = singles(np.array([0, 1, 0, 1]), {"val": 0.0, "test": 0.5}, 0)
    assert Counter(splits.tolist()) == {"train": 2, "test": 2}


def test_fractions_must_leave_training() -> None:
    with pytest.raises(
        ConfigError, match=r"data.val_fraction \+ data.test_fraction must be below 1, got 1.2"
    ):
        singles(np.array([0, 1]), {"val": 0.6, "test": 0.6}, 0)


def test_all_given_is_kept() -> None:
    given = np.array(["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    splits, notes = complete_splits(given, LABELS, None, SHARES, 0)
    assert (splits == given).all()
    assert notes == []


def test_missing_validation_is_drawn_by_patient_from_training_alone() -> None:
    given = np.array(["train"] * 30 + ["test"] * 10)
    patients = [f"p{i // 3}" for i in range(40)]
    splits, notes = complete_splits(given, LABELS, patients, SHARES, 0)
    assert (splits[30:] == "test").all()
    assert (splits[:30] == "val").sum() == 6
    assert all(len(set(splits[i : i + 3])) == 1 for i in range(0, 30, 3))
    assert notes == ["No val split is given: drawn from the training samples."]


def test_nothing_given_is_drawn_without_a_note() -> None:
    splits, notes = complete_splits(None, LABELS, None, SHARES, 0)
    assert [(splits == split).sum() for split in ("train", "val", "test")] == [24, 8, 8]
    assert notes == []


def test_fractions() -> None:
    check_fractions({"val": 0.2, "test": 0.2})
    with pytest.raises(ConfigError, match=r"data.test_fraction must be a number from 0 to 1"):
        check_fractions({"val": 0.2, "test": -0.2})
