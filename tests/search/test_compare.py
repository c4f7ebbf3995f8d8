"""The same number of trainings for every strategy."""

import math
from collections import Counter

import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search.axes import Listed, Rates
from ttl_lightning.search.base import Outcome
from ttl_lightning.search.compare import Compare, spread

RATES = Rates("protocol.learning_rate", ("3e-4", "1e-3", "3e-3"))


@pytest.fixture
def cutoffs(resnet50) -> Listed:
    return Listed("cutoff", ("block1.3", "block2.4", "block3.6", "block4.3"), tuple(resnet50))


def play(budget, axes, score, sizes=None):
    """The settings of each round, and the choice."""
    plan, rounds = Compare(budget).plan(axes, sizes or {}), []
    try:
        asked = next(plan)
        while True:
            rounds.append((asked.stage, asked.settings))
            asked = plan.send({setting: Outcome(score(setting)) for setting in asked.settings})
    except StopIteration as end:
        return rounds, end.value


def tried(rounds) -> list:
    return [setting for _, settings in rounds for setting in settings]


@pytest.mark.parametrize("shape", [(7, 3), (4, 3), (5, 5), (3,), (4, 3, 2), (17, 4)])
def test_every_value_is_tried_about_equally_often(shape) -> None:
    axes = [Listed(str(i), tuple(f"{i}{v}" for v in range(n))) for i, n in enumerate(shape)]
    whole = math.prod(shape)
    for number in range(1, whole + 1):
        taken = spread(axes, number)
        assert len(set(taken)) == number
        for axis, column in zip(axes, zip(*taken, strict=True), strict=True):
            counts = Counter(column)
            assert len(counts) == min(number, len(axis.values))
            assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("budget", range(1, 25))
def test_no_strategy_takes_more_than_the_budget_or_a_setting_twice(budget, cutoffs) -> None:
    def score(setting):
        return math.sin(sum(map(ord, "".join(setting))))

    for axes in ([RATES], [RATES, cutoffs], [cutoffs], []):
        settings = tried(play(budget, axes, score)[0])
        assert len(set(settings)) == len(settings) <= budget
        if len(axes) == 2:  # there are always more
            assert len(settings) == budget


def test_a_strategy_without_cutoff_spends_the_same_on_its_rate(cutoffs) -> None:
    def peak(setting):
        return -abs(math.log(float(setting[0]) / 2e-3))

    rounds, best = play(9, [RATES], peak)
    assert rounds[0] == ("spread", [("3e-4",), ("1e-3",), ("3e-3",)])
    assert len(tried(rounds)) == len(tried(play(9, [RATES, cutoffs], peak)[0])) == 9
    assert abs(math.log(float(best.setting[0]) / 2e-3)) < math.log(1.2)
    assert "of 9 settings tried (budget 9)" in best.reason


def test_a_best_rate_at_the_end_of_the_list_is_followed_beyond_it() -> None:
    _, best = play(9, [RATES], lambda setting: float(setting[0]))
    assert float(best.setting[0]) > 0.02


def test_the_rest_goes_around_the_best_to_neighbours_then_halfway(cutoffs) -> None:
    def score(setting):
        return 1.0 if setting == ("1e-3", "block2.4") else 0.0

    (first, settings), *later = play(20, [RATES, cutoffs], score)[0]
    assert first == "spread"
    assert len(settings) == 12  # all that is listed
    assert later[0] == ("around", [("0.000548", "block2.4"), ("1e-3", "block2.2"),
                                   ("0.00173", "block2.4"), ("1e-3", "block3.3")])  # fmt: skip
    (_, settings), *later = play(9, [RATES, cutoffs], score)[0]
    assert len(settings) == 6  # two thirds
    assert {("1e-3", "block1.3"), ("1e-3", "block2.4"), ("3e-3", "block2.4")} < {*settings}
    # the listed rate below was not tried yet; what lies next to the other three was
    assert later == [("around", [("3e-4", "block2.4"), ("1e-3", "block2.2"),
                                 ("0.00173", "block2.4")])]  # fmt: skip


def test_what_is_not_refined_ends_when_all_is_tried() -> None:
    epochs = Listed("trainer.max_epochs", ("5", "10"))
    rounds, best = play(9, [epochs], lambda setting: float(setting[0]))
    assert tried(rounds) == [("5",), ("10",)]
    assert best.reason == (
        "trainer.max_epochs=10 scored best (10) of 2 settings tried (budget 9; there are no more)."
    )
    rounds, best = play(9, [], lambda _: 0.5)
    assert (tried(rounds), best.setting) == ([()], ())


def test_ties_go_to_the_smaller_model(cutoffs) -> None:
    sizes = {name: place for place, name in enumerate(reversed(cutoffs.order))}
    _, best = play(4, [cutoffs], lambda _: 0.5, sizes)
    assert best.setting == ("block4.3",)
    assert "the smallest or first of 4 that tie" in best.reason


def test_what_fails_counts_but_is_not_chosen(cutoffs) -> None:
    rounds, best = play(12, [RATES, cutoffs], lambda s: None if s[0] == "3e-3" else 0.5)
    assert len(tried(rounds)) == 12
    assert best.setting[0] != "3e-3"
    assert "4 could not be scored" in best.reason
    _, best = play(3, [RATES], lambda _: math.nan)
    assert best.setting is None
    assert best.reason.startswith("None of 3 settings tried could be scored")


@pytest.mark.parametrize("budget", [0, -1, 2.5, "x", True])
def test_a_budget_is_a_positive_integer(budget) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.budget"):
        Compare(budget)
