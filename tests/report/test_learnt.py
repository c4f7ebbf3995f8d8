import numpy as np
import pytest

from tests.report.scored_cases import scored
from ttl_lightning.errors import DataError
from ttl_lightning.report.learnt import Learnt, fault, read_history, still_rising
from ttl_lightning.tasks.classification_report import CLASSIFICATION

HALF = np.arange(100) % 2
RISING = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96]


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
    assert still_rising(history, CLASSIFICATION) == rising


def test_all_faults_of_a_training_are_said() -> None:
    flat = scored(np.full(100, 0.4), HALF)
    assert fault(flat, RISING, CLASSIFICATION, {}) == (
        "predicts one class alone and its test AUROC is not above chance and was still improving "
        "at its last epoch"
    )
    assert fault(None, [], CLASSIFICATION, {}) == ""


def test_half_of_the_seeds_fail_a_method() -> None:
    assert not Learnt({}, 3).failed
    assert not Learnt({1: "x"}, 3).failed
    assert Learnt({1: "x"}, 2).failed
    assert Learnt({0: "x"}, 1).text == "x"
    text = Learnt({2: "y", 1: "x", 0: "y"}, 3).text
    assert text == "y, in 2 of 3 seeds: 0, 2; x, in 1 of 3 seeds: 1"


def test_the_history_is_read_where_there_is_one(tmp_path) -> None:
    assert read_history(tmp_path, "val/auprc") == []
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val/auprc,val/loss\n0,0.5,1\n1,,1\n2,nan,1\n3,0.75,1\n")
    assert read_history(tmp_path, "val/auprc") == [0.5, 0.75]
    path.write_text("epoch,val/loss\n0,0.5\n")
    assert read_history(tmp_path, "val/auprc") == []
    path.write_text("epoch,val/auprc\n0,high\n")
    with pytest.raises(DataError, match=r"metrics\.csv cannot be read: could not convert"):
        read_history(tmp_path, "val/auprc")
