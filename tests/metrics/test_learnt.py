import numpy as np

from tests.report.scored_cases import scored
from ttl_lightning.metrics.learnt import at_chance, one_class_alone

HALF = np.arange(100) % 2


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
