from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ttl_lightning.data.checks import check_images, find_leaks, verify_labels, verify_samples
from ttl_lightning.data.samples import Samples
from ttl_lightning.errors import DataError

GOOD = Samples(
    ids=tuple("abcdef"),
    labels=np.array([0, 1, 0, 1, 0, 1]),
    splits=np.array(["train", "train", "val", "val", "test", "test"]),
    class_names=("healthy", "ill"),
    patients=("p1", "p1", "p2", "p2", "p3", "p4"),
)
HASHES = list("uvwxyz")


def verify(samples: Samples) -> None:
    verify_samples(samples)
    verify_labels(samples)


def test_good_samples_pass() -> None:
    verify(GOOD)
    verify(replace(GOOD, patients=None))
    check_images(HASHES, GOOD)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ids": tuple("abcdea")}, r"the same id stands for more than one sample: 'a'\."),
        (
            {"splits": np.array(["train"] * 4 + ["test"] * 2)},
            r"the val split is empty \(train 4, val 0, test 2 samples\)\.",
        ),
        ({"splits": np.array(["train"] * 6)}, "the val and test split is empty"),
        (
            {"labels": np.array([0, 0, 0, 1, 0, 1])},
            r"no training sample of class 'ill' \(of the first: train 0, val 1, test 1 samples\)",
        ),
        (
            {"patients": ("p1", "p1", "p1", "p2", "p3", "p4")},
            r"the same patient is in two splits: 'p1' \(the first in train and val\)",
        ),
        (
            {"patients": ("p1", "p1", "p2", "p3", "p3", "p2")},
            r"the same patient is in two splits: 'p2', 'p3' \(the first in val and test\)",
        ),
        (
            {"labels": np.array([0, 1, 0, 1, 0, 2])},
            r"2 classes are named \('healthy', 'ill'\), so labels run from 0 to 1, but 1 of 6 do "
            "not, such as 2",
        ),
        ({"labels": np.array([0, 1, 0, 1, 0, -1])}, "but 1 of 6 do not, such as -1"),
        (
            {"labels": np.ones((6, 3), np.float32)},
            r"2 classes are named, but the labels have shape \(6, 3\)",
        ),
        (
            {"labels": np.full((6, 2), 0.5, np.float32)},
            "labels of which several may hold must be 0, 1 or NaN, got 0.5",
        ),
        (
            {"labels": np.tile(np.float32([1, 0]), (6, 1))},
            "no training sample of class 'ill'",
        ),
    ],
)
def test_each_fault_is_named(change: dict, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        verify(replace(GOOD, **change))
    assert "\n" not in str(caught.value)


def test_an_image_in_two_splits_is_named_with_its_copy() -> None:
    with pytest.raises(
        DataError, match=r"same image or study is in two splits: b \(train\) = e \(test\)\. Remove"
    ):
        check_images(["u", "v", "w", "x", "v", "z"], GOOD)


def test_leaks_point_to_the_later_split_and_ignore_copies_within_one() -> None:
    splits = np.array(["train", "train", "val", "test", "test", "train"])
    assert find_leaks(["a", "b", "a", "a", "b", "c"], splits) == {0: 3, 2: 3, 1: 4}
    assert find_leaks(["a", "a", "b", "c", "c", "a"], splits) == {}


def test_seeded_leaks_are_all_found_without_false_alarm() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        splits = rng.choice(["train", "val", "test"], 300)
        hashes = [str(i) for i in range(300)]
        assert find_leaks(hashes, splits) == {}
        trained, tested = (
            np.flatnonzero(splits == "train")[:9],
            np.flatnonzero(splits == "test")[:9],
        )
        for row, copy in zip(trained, tested, strict=True):
            hashes[row] = hashes[copy]
        assert find_leaks(hashes, splits) == dict(
            zip(trained.tolist(), tested.tolist(), strict=True)
        )
