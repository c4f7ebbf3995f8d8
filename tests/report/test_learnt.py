import numpy as np
import pytest

from tests.report.scored_cases import scored
from ttl_lightning.errors import DataError
from ttl_lightning.report.learnt import (
    Learnt,
    at_chance,
    fault,
    one_class_alone,
    read_history,
    still_rising,
)

HALF = np.arange(100) % 2
RISING = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96]


def test_chance_is_told_from_a_little_skill() -> None:
    noise = np.random.default_rng(0).random(100)
    assert at_chance(scored(noise, HALF))
    assert at_chance(scored(-HALF, HALF))  # worse than chance
    assert not at_chance(scored(noise + HALF, HALF))
    assert not at_chance(scored(noise, np.zeros(100)))  # nothing can be computed


def test_one_class_alone_is_named_unless_the_other_is_rare() -> None:
    low = 0.4 * np.random.default_rng(0).random(100)
    assert one_class_alone(scored(low, HALF))
    assert one_class_alone(scored(1 - low, HALF))
    assert not one_class_alone(scored(low, np.arange(100) < 15))
    assert not one_class_alone(scored(low + 0.6 * (np.arange(100) == 3), HALF))


def test_one_class_of_several() -> None:
    rng = np.random.default_rng(1)
    targets, scores = np.eye(3)[rng.integers(0, 3, 60)], rng.random((60, 3))
    assert not one_class_alone(scored(scores, targets), "multiclass")
    scores[:, 1] += 1
    assert one_class_alone(scored(scores, targets), "multiclass")
    assert not one_class_alone(scored(scores, targets), "multilabel")


@pytest.mark.parametrize(
    ("history", "rising"),
    [
        (RISING, True),
        ([*RISING, 0.95], False),  # the last is not the best
        ([*RISING, 0.965, 0.97, 0.971], False),  # the end of a cosine
        ([0.5, 0.9], True),
        ([0.9, 0.91], False),
        ([0.9], False),
        ([], False),
    ],
)
def test_still_rising_is_a_gain_at_the_very_end(history, rising) -> None:
    assert still_rising(history) == rising


def test_all_faults_of_a_training_are_said() -> None:
    flat = scored(np.full(100, 0.4), HALF)
    assert fault(flat, RISING) == (
        "predicts one class alone and its test AUROC is not above chance and was still improving "
        "at its last epoch"
    )
    assert fault(None, []) == ""


def test_half_of_the_seeds_fail_a_method() -> None:
    assert not Learnt({}, 3).failed
    assert not Learnt({1: "x"}, 3).failed
    assert Learnt({1: "x"}, 2).failed
    assert Learnt({0: "x"}, 1).text == "x"
    text = Learnt({2: "y", 1: "x", 0: "y"}, 3).text
    assert text == "y, in 2 of 3 seeds: 0, 2; x, in 1 of 3 seeds: 1"


def test_the_history_is_read_where_there_is_one(tmp_path) -> None:
    assert read_history(tmp_path) == []
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val/auprc,val/loss\n0,0.5,1\n1,,1\n2,nan,1\n3,0.75,1\n")
    assert read_history(tmp_path) == [0.5, 0.75]
    path.write_text("epoch,val/loss\n0,0.5\n")
    assert read_history(tmp_path) == []
    path.write_text("epoch,val/auprc\n0,high\n")
    with pytest.raises(DataError, match=r"metrics\.csv cannot be read: could not convert"):
        read_history(tmp_path)
