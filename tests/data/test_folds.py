"""Parts of a cross-validation: every sample tested once, patients whole, classes in proportion."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

import ttl_lightning as ttl
from ttl_lightning.data.folds import in_folds
from ttl_lightning.data.samples import Samples
from ttl_lightning.errors import ConfigError

RNG = np.random.default_rng(0)


def made(n: int = 200, **more) -> Samples:
    labels = more.pop("labels", (RNG.random(n) < 0.2).astype(np.int64))
    patients = tuple(f"p{RNG.integers(0, 60)}" for _ in range(n))
    given = np.array(["train"] * (n - 1) + ["test"])
    return Samples(tuple(map(str, range(n))), labels, given, ("a", "b"), patients, **more)


def test_each_sample_is_tested_once_and_validates_once() -> None:
    samples = made()
    found = [in_folds(samples, 5, fold, seed=3) for fold in range(5)]
    for split in ("test", "val"):
        counts = np.sum([one.splits == split for one in found], axis=0)
        assert (counts == 1).all()
    assert ((found[1].splits == "test") == (found[0].splits == "val")).all()
    assert "Fold 2 of 5" in found[2].notes[-1]


def test_patients_are_whole_and_classes_as_even_as_scikit_learn_has_them() -> None:
    samples = made()
    shares, theirs = [], []
    for fold in range(5):
        splits = in_folds(samples, 5, fold, seed=0).splits
        of = {}
        for patient, split in zip(samples.patients, splits, strict=True):
            assert of.setdefault(patient, split) == split
        shares.append(samples.labels[splits == "test"].mean())
    dealt = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for _, test in dealt.split(samples.labels, samples.labels, samples.patients):
        theirs.append(samples.labels[test].mean())
    assert np.ptp(shares) <= max(np.ptp(theirs), 0.08)


def test_numbers_are_dealt_by_their_size() -> None:
    values = RNG.normal(size=(100, 1)).astype(np.float32)
    samples = Samples(
        tuple(map(str, range(100))), values, np.full(100, "train"), ("age",), measured=True
    )
    fifth = np.argsort(np.argsort(values[:, 0])) // 20
    for fold in range(5):
        tested = in_folds(samples, 5, fold, seed=0).splits == "test"
        assert all(3 <= count <= 5 for count in Counter(fifth[tested]).values())


def test_another_seed_deals_anew() -> None:
    samples = made()
    one, other = (in_folds(samples, 4, 0, seed).splits for seed in (0, 1))
    assert (one != other).any()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["data.folds=5"], r"which of data\.folds=5\? Give data\.fold, from 0 to 4"),
        (["data.folds=5", "data.fold=5"], r"data\.fold must be an integer from 0 to 4, got 5"),
        (["data.fold=1"], r"data\.fold=1 is one of data\.folds, which is null"),
        (["data.folds=2", "data.fold=0"], r"data\.folds must be an integer from 3"),
    ],
)
def test_mistakes(given: list[str], text: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match=text):
        ttl.train(overrides=[*given, "backbone.weights=null"], run_dir=tmp_path / "run")
