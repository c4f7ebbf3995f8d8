import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search import Incremental

NAN = float("nan")


def table(*from_the_output: float | None) -> dict[str, float | None]:
    """Scores of block1 … blockN, given in the order in which they are to be tried."""
    return {f"block{i}": score for i, score in enumerate(reversed(from_the_output), 1)}


@pytest.mark.parametrize(
    ("options", "scores", "tried", "chosen"),
    [
        # to the first unit, when each is better than the last
        ({}, (0.1, 0.2, 0.3, 0.4), 4, "block1"),
        # two in a row no better: the third from the end is best
        ({}, (0.1, 0.3, 0.3, 0.2, 0.9), 4, "block4"),
        # an improvement starts the count anew
        ({}, (0.3, 0.2, 0.4, 0.3, 0.35, 0.9), 5, "block4"),
        ({"patience": 1}, (0.3, 0.2, 0.9), 2, "block3"),
        ({"patience": 3}, (0.3, 0.2, 0.1, 0.4), 4, "block1"),
        # a failure is no improvement, nor the end
        ({}, (None, 0.2, NAN, 0.3, None, None, 0.9), 6, "block4"),
        ({"patience": 1}, (None, 0.9), 1, None),
        ({}, (None, NAN, 0.9), 2, None),
        # the target ends it, at once and also if there are better ones beyond
        ({"target": 0.5}, (0.5, 0.9), 1, "block2"),
        ({"target": 0.5}, (0.1, 0.2, 0.6, 0.9), 3, "block2"),
        ({"target": 0.5}, (0.4, 0.3, 0.2, 0.9), 3, "block4"),
        # a target of 0 is a target
        ({"target": 0}, (-1.0, 0.5, 0.9), 2, "block2"),
        # ties: fewer trained units
        ({}, (0.4, 0.4), 2, "block2"),
    ],
)
def test_stops_step_by_step(drive, options, scores, tried, chosen) -> None:
    batches, choice = drive(Incremental(**options), table(*scores))
    count = len(scores)
    assert batches == [[(f"block{count - i}", "unfreeze", None)] for i in range(tried)]
    assert choice.candidate == chosen


def test_ties_do_not_go_by_size(drive) -> None:
    _, choice = drive(Incremental(), table(0.4, 0.4), {"block1": 1, "block2": 2})
    assert choice.candidate == "block2"


@pytest.mark.parametrize(
    ("options", "scores", "reason"),
    [
        (
            {"target": 0.5},
            (0.1, 0.6),
            "block1 is the first to reach the target of 0.5 (0.6), after 2 cutoffs from the "
            "output side.",
        ),
        (
            {"target": 0.95},
            (0.6, 0.1, 0.2, 0.9),
            "block4 scored best (0.6) of 3 cutoffs from the output side; the last 2 brought "
            "nothing better; none reached the target of 0.95.",
        ),
        ({}, (0.1, 0.6), "block1 scored best (0.6) of 2 cutoffs from the output side."),
        ({}, (None,), "None of 1 cutoff could be scored."),
    ],
)
def test_the_reason_tells_why_it_stopped(drive, options, scores, reason) -> None:
    assert drive(Incremental(**options), table(*scores))[1].reason == reason


@pytest.mark.parametrize("target", [NAN, float("inf"), "high", True])
def test_a_wrong_target_is_named(target) -> None:
    with pytest.raises(
        ConfigError, match=f"target must be null or a finite number, got {target!r}"
    ):
        Incremental(target=target)


@pytest.mark.parametrize("patience", [0, 1.5, True, None])
def test_a_wrong_patience_is_named(patience) -> None:
    with pytest.raises(ConfigError, match=f"patience must be an integer .* got {patience}"):
        Incremental(patience=patience)
