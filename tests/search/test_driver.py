import math

import numpy as np
import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.search import Evaluation, Exhaustive, Halving, Incremental, search

TABLE = {"stem": 0.1, "block1": 0.3, "block2": 0.2}


@pytest.mark.parametrize("evaluate", [TABLE.get, TABLE.__getitem__])
def test_a_dictionary_is_enough(evaluate) -> None:
    result = ttl.search(list(TABLE), evaluate)
    assert (result.method, result.choice) == ("hierarchical", "block1")
    assert result.trials[0] == Evaluation("block1", "block", None, (0.3,), 0.3)


def test_a_candidate_that_a_dictionary_lacks_failed() -> None:
    result = search(["block1", "block2", "block3"], TABLE.get)
    assert result.choice == "block1"
    assert result.trials[2] == Evaluation("block3", "block", None, (), None)


def test_methods_go_by_name_or_with_options() -> None:
    assert len(search(list(TABLE), TABLE.get, "exhaustive").trials) == 3
    result = search(list(TABLE), TABLE.get, Incremental(target=0.2))
    assert (result.method, result.choice, len(result.trials)) == ("incremental", "block2", 1)


@pytest.mark.parametrize("method", ["random", Exhaustive, None])
def test_another_method_is_named(method) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown search method .*Allowed: exhaustive"):
        search(list(TABLE), TABLE.get, method)


def test_halving_by_name_alone_asks_for_its_epochs() -> None:
    with pytest.raises(ConfigError, match="needs max_epochs"):
        search(list(TABLE), TABLE.get, "halving")


@pytest.mark.parametrize(
    ("given", "score"),
    [
        ([0.25, 0.75, 1.0], 2 / 3),
        ((0.5,), 0.5),
        (np.array([0.25, 0.5]), 0.375),
        (np.array(0.25), 0.25),
        (np.float32(0.5), 0.5),
        (1, 1.0),
        ([0.25, None, float("nan"), 0.75], 0.5),
        ([None], None),
        ([], None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_the_mean_of_the_seeds_counts(given, score) -> None:
    evaluated = search(["stem"], lambda _: given, "exhaustive").trials[0]
    assert evaluated.score == (score if score is None else pytest.approx(score, rel=1e-15))
    if given is not None:
        expected = np.ravel(np.array(given, dtype=float))
        assert np.array_equal(evaluated.scores, expected, equal_nan=True)


def test_seeds_in_another_order_still_tie() -> None:
    # added one by one, the first would come out higher
    scores = {"block1": [0.3, 0.2, 0.1], "block2": [0.1, 0.2, 0.3]}
    assert sum(scores["block1"]) != sum(scores["block2"])
    sizes = {"block1": 2, "block2": 1}
    assert search(list(scores), scores.get, "exhaustive", sizes).choice == "block2"
    assert search(list(scores), scores.get, "exhaustive").choice == "block1"


@pytest.mark.parametrize("given", ["0.5", {0: 0.5}, [[0.5]], ["0.5"], object()])
def test_what_is_no_score_is_named(given) -> None:
    message = r"evaluate\('stem'\) must give a number, a sequence of numbers or None, got "
    with pytest.raises(ConfigError, match=message):
        search(["stem"], lambda _: given)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, StopIteration, KeyboardInterrupt])
def test_the_callers_own_error_comes_through(error) -> None:
    def evaluate(_candidate: str) -> float:
        raise error("mine")

    with pytest.raises(error, match="mine"):
        search(["stem"], evaluate)


def test_wrong_candidates_are_found_before_anything_is_evaluated() -> None:
    calls: list[str] = []
    with pytest.raises(ConfigError, match="'layer3'"):
        search(["stem", "layer3"], calls.append)
    assert calls == []


def test_a_table_of_learning_curves_is_enough_for_halving() -> None:
    curves = {"stem": {1: 0.5, None: 0.6}, "block1": {1: 0.4, None: 0.9}, "tail": {1: math.nan}}
    method = Halving(max_epochs=2, eta=2)
    result = search(list(curves), lambda name, epochs: curves[name][epochs], method)
    assert result.choice == "block1"
