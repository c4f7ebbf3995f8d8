import itertools

import numpy as np
import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search import Choice, Exhaustive, Outcome, Trial, advance, best, ranked

NAN = float("nan")
ORDER = ["stem", "block1", "block2", "tail"]


def outcomes(**given: tuple[float | None, float | None]) -> dict[Trial, Outcome]:
    return {Trial(name, "all"): Outcome(*pair) for name, pair in given.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"stem": (0.1, 1), "block1": (0.3, 2), "block2": (0.2, 3)}, "block1"),
        ({"stem": (-5, 1), "block1": (-3, 2)}, "block1"),
        # a tie goes to the smaller model, wherever it lies
        ({"stem": (0.3, 9), "block1": (0.3, 2), "block2": (0.3, 3)}, "block1"),
        # of unknown or equal size: to the earlier candidate
        ({"block2": (0.3, None), "block1": (0.3, None)}, "block1"),
        ({"block2": (0.3, 4), "block1": (0.3, 4)}, "block1"),
        ({"block2": (0.3, 1), "block1": (0.3, None)}, "block1"),
        # the size of a worse one does not matter
        ({"stem": (0.1, None), "block1": (0.3, 5), "block2": (0.3, 4)}, "block2"),
        ({"stem": (None, 1), "block1": (NAN, 1), "block2": (0.0, 1)}, "block2"),
        ({"stem": (float("-inf"), 1), "block1": (None, 1)}, "stem"),
    ],
)
def test_best(given: dict[str, tuple[float | None, float | None]], expected: str) -> None:
    trial = best(outcomes(**given), ORDER)
    assert trial is not None
    assert trial.candidate == expected


def test_best_of_failures_is_none() -> None:
    assert best(outcomes(stem=(None, 1), tail=(NAN, 1)), ORDER) is None
    assert best({}, ORDER) is None


def test_ranking_is_that_of_numpy_and_does_not_depend_on_the_order_of_arrival() -> None:
    scores, sizes = [0.5, 0.7, 0.5, 0.7], [3, 8, 2, 9]
    expected = [ORDER[i] for i in np.lexsort((range(4), sizes, [-score for score in scores]))]
    for order in itertools.permutations(range(4)):
        given = outcomes(**{ORDER[i]: (scores[i], sizes[i]) for i in order})
        assert [trial.candidate for trial in ranked(given, ORDER)] == expected


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "at least one candidate"),
        (["layer2"], "'layer2' is not a cutoff. Allowed: stem, block2, block2.3, tail"),
        (["block0"], "'block0' is not a cutoff"),
        (["stem", "block2.x"], "'block2.x' is not a cutoff"),
        ([14], "14 is not a cutoff"),
        ("stem", "'s' is not a cutoff"),
        (["stem", "block1", "block1"], "'block1' is given 2 times"),
        (["block1", "block1.2"], "'block1' and 'block1.2' overlap"),
        (["block2", "block10", "block3"], "got 'block10' before 'block3'"),
        (["block1.2", "block1.1"], "got 'block1.2' before 'block1.1'"),
        (["tail", "block1"], "got 'tail' before 'block1'"),
        (["block1", "stem"], "got 'block1' before 'stem'"),
    ],
)
def test_wrong_candidates_are_named(candidates: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        next(Exhaustive().plan(candidates))
    assert "\n" not in str(caught.value)


def test_candidates_count_as_numbers_do() -> None:
    names = ["stem", "block2.9", "block2.10", "block10.1", "tail"]
    assert [trial.candidate for trial in next(Exhaustive().plan(names))] == names


def test_a_trial_without_outcome_is_not_passed_over() -> None:
    plan = Exhaustive().plan(["stem", "tail"])
    next(plan)
    with pytest.raises(KeyError):
        plan.send({Trial("stem", "all"): Outcome(0.5)})


def test_advance_gives_batches_and_then_the_choice() -> None:
    plan = Exhaustive().plan(["stem"])
    assert advance(plan, None) == [Trial("stem", "all")]
    choice = advance(plan, {Trial("stem", "all"): Outcome(0.5)})
    assert isinstance(choice, Choice)
    assert choice.candidate == "stem"
