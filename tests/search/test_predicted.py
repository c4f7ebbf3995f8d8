from __future__ import annotations

import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search import Halving, Predicted, search

ORDER = ["stem", "block1", "block2.1", "block2.2", "block3.1", "block3.2", "block4", "tail"]
PROMISED = dict(zip(ORDER, [0.1, 0.9, 0.3, 0.8, 0.7, 0.2, 0.6, 0.5], strict=True))
FIELD = ["block1", "block2.2", "block3.1", "block4"]


def learning(cutoff: str, epochs: int | None) -> float:
    """Two that learn late overtake the others."""
    late = cutoff in ("block3.1", "tail")
    return (0.3 if late else 0.5) + (0.15 if late else 0.02) * (epochs or 10) - 0.01 * len(cutoff)


def test_the_best_race() -> None:
    method = Predicted(PROMISED, max_epochs=10, keep=4, eta=2, min_epochs=2)
    ours = search(ORDER, learning, method)
    race = search(FIELD, learning, Halving(10, eta=2, min_epochs=2, radius="all"))
    assert ours.trials == race.trials
    assert ours.choice == race.choice == "block3.1"
    assert ours.reason == f"Of 8 cutoffs, the 4 predicted best raced. {race.reason}"
    assert [trial.candidate for trial in ours.trials][:4] == FIELD


@pytest.mark.parametrize(("keep", "count"), [(1, 1), (3, 3), (8, 8), (20, 8)])
def test_how_many_race(keep, count) -> None:
    found = search(ORDER, learning, Predicted(PROMISED, max_epochs=10, keep=keep))
    first = [trial.candidate for trial in found.trials if trial.stage == "rung0"]
    assert first == sorted(sorted(PROMISED, key=PROMISED.get)[-count:], key=ORDER.index)
    assert found.trials[-1].epochs is None


@pytest.mark.parametrize(("epochs", "first"), [(1, None), (2, 1), (10, 3), (30, 10)])
def test_three_for_a_third_of_the_epochs_then_the_best_to_the_end(epochs, first) -> None:
    asked = []

    def evaluate(cutoff: str, until: int | None) -> float:
        asked.append((cutoff, until))
        return {"block1": 0.5, "block2.2": 0.7, "block3.1": 0.6}[cutoff]

    found = search(ORDER, evaluate, Predicted(PROMISED, max_epochs=epochs))
    assert found.choice == "block2.2"
    race = [(cutoff, first) for cutoff in ("block1", "block2.2", "block3.1")]
    assert asked == race + [("block2.2", None)] * (first is not None)


def test_what_is_not_predicted_comes_last_and_ties_go_to_the_earlier() -> None:
    promised = {"block3.2": 0.5, "block4": 0.5, "tail": 0.5, "stem": None, "block1": float("nan")}
    for keep, field in (
        (2, ["block3.2", "block4"]),
        (4, ["stem", "block3.2", "block4", "tail"]),
    ):
        found = search(ORDER, learning, Predicted(promised, max_epochs=10, keep=keep))
        assert [t.candidate for t in found.trials if t.stage == "rung0"] == field


def test_nothing_predicted() -> None:
    with pytest.raises(ConfigError, match=r"^nothing is predicted for any of 8 cutoffs\.$"):
        search(ORDER, learning, Predicted({"stem": None, "block9": 1.0}, max_epochs=10))


@pytest.mark.parametrize(
    "option", [{"keep": 0.5}, {"keep": 0}, {"eta": 1}, {"min_epochs": 11}, {"max_epochs": 0}]
)
def test_options_out_of_range(option) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        Predicted(PROMISED, **{"max_epochs": 10, **option})
