from __future__ import annotations

import numpy as np
import pytest

from ttl_lightning.data.completion import check_split_options, complete_splits
from ttl_lightning.errors import ConfigError

LABELS = np.tile([0, 1], 20)
FRACTIONS = {"val": 0.2, "test": 0.2}


def test_all_given_is_kept() -> None:
    given = np.array(["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    splits, notes = complete_splits(given, LABELS, None, FRACTIONS, 0)
    assert (splits == given).all()
    assert notes == []


def test_missing_validation_is_drawn_by_patient_from_training_alone() -> None:
    given = np.array(["train"] * 30 + ["test"] * 10)
    patients = [f"p{i // 3}" for i in range(40)]
    splits, notes = complete_splits(given, LABELS, patients, FRACTIONS, 0)
    assert (splits[30:] == "test").all()
    assert (splits[:30] == "val").sum() == 6
    assert all(len(set(splits[i : i + 3])) == 1 for i in range(0, 30, 3))
    assert notes == ["No val split is given: drawn from the training samples."]


def test_nothing_given_is_drawn_without_a_note() -> None:
    splits, notes = complete_splits(None, LABELS, None, FRACTIONS, 0)
    assert [(splits == split).sum() for split in ("train", "val", "test")] == [24, 8, 8]
    assert notes == []


def test_fractions() -> None:
    check_split_options(0.2, 0.2)
    with pytest.raises(ConfigError, match=r"data.test_fraction must be a number from 0 to 1"):
        check_split_options(0.2, -0.2)
