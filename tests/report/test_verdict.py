import pytest

from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.report.verdict import verdict
from ttl_lightning.tasks.classification_report import CLASSIFICATION, MARGIN

AUROC = CLASSIFICATION.metric("auroc")


def having(low, high, freedom=4.0) -> Comparison:
    """A comparison of that interval."""
    error = (high - low) / 2 / 1.959963984540054
    return Comparison((low + high) / 2, error**2, 0.0, freedom, (3, 3), 50)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.001, 0.1, "better"),
        (-0.1, -0.001, "worse"),
        (-MARGIN / 2, -0.001, "worse"),
        (-MARGIN + 0.001, 0.001, "no worse"),
        (-MARGIN - 0.001, 0.5, "not decided"),
        (-0.1, 0.1, "not decided"),
    ],
)
def test_words_follow_the_interval(low, high, word) -> None:
    assert verdict(having(low, high), AUROC) == word


def test_one_training_has_no_word() -> None:
    assert verdict(having(0.3, 0.4, freedom=None), AUROC) is None


def test_no_difference_at_all_is_no_worse() -> None:
    assert verdict(having(0.0, 0.0), AUROC) == "no worse"
