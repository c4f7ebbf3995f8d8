import pytest

from ttl_lightning.errors import ConfigError
from ttl_lightning.search import Halving, Outcome, Rung, advance, search

NINE = [f"block{i}" for i in range(1, 10)]


@pytest.mark.parametrize(
    ("count", "options", "expected"),
    [
        (9, {"max_epochs": 9}, [(9, 1, 9), (3, 3, 6), (1, 9, 6)]),
        # ResNet-50's 17 points; the only one left goes to the end at once
        (17, {"max_epochs": 30}, [(17, 1, 17), (6, 3, 12), (2, 9, 12), (1, 30, 21)]),
        # several left: the next rung would be 9 epochs, which is past the end
        (12, {"max_epochs": 5}, [(12, 1, 12), (4, 3, 8), (2, 5, 4)]),
        # a rung that comes out at the end is the last
        (12, {"max_epochs": 3}, [(12, 1, 12), (4, 3, 8)]),
        (
            5,
            {"max_epochs": 10, "eta": 2, "min_epochs": 2},
            [(5, 2, 10), (3, 4, 6), (2, 8, 8), (1, 10, 2)],
        ),
        (1, {"max_epochs": 30}, [(1, 30, 30)]),
        (4, {"max_epochs": 10, "min_epochs": 10}, [(4, 10, 40)]),
        (2, {"max_epochs": 1}, [(2, 1, 2)]),
    ],
)
def test_rungs_worked_by_hand(count, options, expected) -> None:
    assert Halving(**{"eta": 3} | options).rungs(count) == [Rung(*rung) for rung in expected]


def test_survivors_are_continued_and_all_calls_are_known() -> None:
    calls: list[tuple[str, int | None]] = []
    scores = dict(zip(NINE, (0.1, 0.9, 0.2, 0.3, 0.8, 0.4, 0.7, 0.5, 0.6), strict=True))

    def evaluate(candidate: str, epochs: int | None) -> float:
        calls.append((candidate, epochs))
        # at three epochs, block7 overtakes
        return 1.0 if (candidate, epochs) == ("block7", 3) else scores[candidate]

    result = search(NINE, evaluate, Halving(max_epochs=10, eta=3, radius="all"))
    assert calls == [
        *((name, 1) for name in NINE),
        *(("block2", 3), ("block5", 3), ("block7", 3)),
        ("block7", None),
    ]
    assert result.choice == "block7"
    assert [trial.stage for trial in result.trials] == ["rung0"] * 9 + ["rung1"] * 3 + ["rung2"]
    assert result.reason == (
        "block7 scored best (0.7) of 1 cutoff trained to the end (of 9 at the start)."
    )


@pytest.mark.parametrize(("count", "max_epochs", "eta"), [(9, 9, 3), (17, 30, 3), (16, 100, 2)])
def test_the_epochs_trained_are_those_of_the_rungs(count, max_epochs, eta) -> None:
    method = Halving(max_epochs=max_epochs, eta=eta, radius="all")
    trained: dict[str, int] = {}
    spent = 0

    def evaluate(candidate: str, epochs: int | None) -> float:
        nonlocal spent
        total = max_epochs if epochs is None else epochs
        spent += total - trained.get(candidate, 0)
        trained[candidate] = total
        return float(candidate.removeprefix("block"))

    names = [f"block{i}" for i in range(1, count + 1)]
    assert search(names, evaluate, method).choice == names[-1]
    assert spent == sum(rung.new_epochs for rung in method.rungs(count)) < count * max_epochs


def test_blocks_race_first_and_then_the_layers_around_the_winner(resnet50) -> None:
    calls: list[tuple[str, int | None]] = []
    # best in block3, before its end; block4 is the slow one
    peak = resnet50.index("block3.4")

    def evaluate(candidate: str, epochs: int | None) -> float:
        calls.append((candidate, epochs))
        return -abs(resnet50.index(candidate) - peak) - (candidate == "block4.3") * (epochs or 30)

    result = search(resnet50, evaluate, Halving(max_epochs=30, eta=3))
    inside = ["block3.1", "block3.2", "block3.3", "block3.4", "block3.5", "block3.6"]
    assert calls == [
        *((end, 1) for end in ("block1.3", "block2.4", "block3.6", "block4.3")),
        *((end, 3) for end in ("block2.4", "block3.6")),
        # strictly between the ends of block2 and block4; the winner costs nothing at one epoch
        *((name, 1) for name in (*inside, "block4.1", "block4.2")),
        *((name, 3) for name in ("block3.3", "block3.4", "block3.5")),
        ("block3.4", None),
    ]
    assert result.choice == "block3.4"
    assert result.reason == (
        "block3.4 scored best (0) of 1 cutoff trained to the end (of 11 at the start)."
    )
    stages = dict.fromkeys(trial.stage for trial in result.trials)
    assert list(stages) == [
        "block rung0", "block rung1", "layer rung0", "layer rung1", "layer rung2"
    ]  # fmt: skip


def test_a_network_of_one_block_has_no_first_race() -> None:
    scores = {"stem": 0.1, "block1.1": 0.2, "block1.2": 0.3, "tail": 0.9}
    result = search(list(scores), lambda name, _: scores[name], Halving(max_epochs=4, eta=2))
    assert [trial.stage for trial in result.trials][:4] == ["layer rung0"] * 4
    assert result.choice == "tail"


def test_without_a_block_that_can_be_scored_there_is_no_choice(resnet50) -> None:
    def evaluate(candidate: str, _epochs: int | None) -> float | None:
        return None if candidate in ("block1.3", "block2.4", "block3.6", "block4.3") else 0.5

    result = search(resnet50, evaluate, Halving(max_epochs=30, eta=3))
    assert (result.choice, result.reason) == (None, "None of 4 cutoffs could be scored.")


def test_a_rung_is_one_batch() -> None:
    plan = Halving(max_epochs=4, eta=2).plan(NINE[:4])
    batch = advance(plan, None)
    sizes = []
    while isinstance(batch, list):
        sizes.append([(trial.candidate, trial.epochs) for trial in batch])
        batch = advance(plan, {t: Outcome(float(t.candidate[-1])) for t in batch})
    assert sizes == [
        [("block1", 1), ("block2", 1), ("block3", 1), ("block4", 1)],
        [("block3", 2), ("block4", 2)],
        [("block4", None)],
    ]


def test_ties_at_a_rung_keep_the_smaller_models() -> None:
    def evaluate(_candidate: str, _epochs: int | None) -> float:
        return 0.5

    names = NINE[:4]
    sizes = {"block1": 9, "block2": 2, "block3": 7, "block4": 3}
    method = Halving(max_epochs=2, eta=2, radius="all")
    last = [t.candidate for t in search(names, evaluate, method, sizes).trials if t.epochs is None]
    assert last == ["block2", "block4"]
    last = [t.candidate for t in search(names, evaluate, method).trials if t.epochs is None]
    assert last == ["block1", "block2"]


def test_who_fails_drops_out() -> None:
    def evaluate(candidate: str, _epochs: int | None) -> float | None:
        return 0.5 if candidate in ("block3", "block8") else None

    result = search(NINE, evaluate, Halving(max_epochs=30, eta=3))
    # three may stay, but only two were scored
    assert [(t.candidate, t.epochs) for t in result.trials[9:]] == [
        ("block3", 3),
        ("block8", 3),
        ("block3", None),
    ]
    assert result.choice == "block3"


def test_who_fails_at_the_end_is_not_chosen() -> None:
    def evaluate(candidate: str, epochs: int | None) -> float:
        return float("nan") if epochs is None and candidate == "block9" else float(candidate[-1])

    assert search(NINE, evaluate, Halving(max_epochs=3, eta=3)).choice == "block8"
    alone = search(NINE, evaluate, Halving(max_epochs=30, eta=3))
    assert alone.choice is None
    assert alone.reason == (
        "None of 1 cutoff trained to the end (of 9 at the start) could be scored."
    )


def test_all_failed_in_the_first_rung_is_the_end() -> None:
    method = Halving(max_epochs=9, eta=3, radius="all")
    result = search(["stem", "tail"], lambda _candidate, _epochs: None, method)
    assert len(result.trials) == 2
    assert (result.choice, result.reason) == (
        None,
        "None of 2 cutoffs trained to epoch 1 could be scored.",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": 0}, "max_epochs must be an integer of at least 1, got 0"),
        ({"max_epochs": 2.5}, "max_epochs must be an integer"),
        ({"max_epochs": 9, "eta": 1}, "eta must be an integer of at least 2, got 1"),
        ({"max_epochs": 9, "radius": 0}, "radius must be null .* got 0"),
        ({"max_epochs": 9, "min_epochs": 10}, "min_epochs must be an integer from 1 to 9, got 10"),
    ],
)
def test_wrong_options_are_named(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Halving(**options)


def test_no_rungs_for_no_candidates() -> None:
    with pytest.raises(ConfigError, match="candidates must be an integer of at least 1, got 0"):
        Halving(max_epochs=9, eta=3).rungs(0)
