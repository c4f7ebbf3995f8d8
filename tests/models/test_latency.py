from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ttl_lightning.models import latency as module
from ttl_lightning.models.latency import measure, noise, summary, take_turns, why_not


class Machine:
    """A clock, and models whose passes take what they are said to on it."""

    def __init__(self) -> None:
        self.s = 0.0
        self.order: list[str] = []

    def now(self) -> float:
        return self.s

    def model(self, name: str, times_ms):
        times = iter(times_ms)

        def one() -> float:
            taken = next(times)
            self.order.append(name)
            self.s += taken / 1e3
            return taken

        return one


def test_models_take_turns_and_the_first_ones_do_not_count() -> None:
    machine = Machine()
    cut = machine.model("c", itertools.chain([70.0], itertools.repeat(10.0)))
    whole = machine.model("w", itertools.chain([900.0], itertools.repeat(80.0)))
    ours, theirs = take_turns([cut, whole], machine.now)
    assert "".join(machine.order).startswith("cwcccccwcccccw")  # long passes are not repeated
    assert {time for turn in ours for time in turn} == {10.0}
    assert {time for turn in theirs for time in turn} == {80.0}
    assert {len(turn) for turn in ours} == {5}
    assert len(ours) == len(theirs) >= 6
    assert machine.s < 2  # all passes are alike: there is nothing to wait for


def test_it_goes_on_until_it_is_stable_or_time_is_up() -> None:
    machine = Machine()  # slow at first: until the first half of the turns has quick ones, too
    slow = machine.model("m", itertools.chain([30.0] * 14, itertools.repeat(10.0)))
    (turns,) = take_turns([slow], machine.now)
    assert turns[0] == [30.0, 30.0]
    assert turns[len(turns) // 2 - 1] == [10.0] * 5
    assert machine.s < module.LIMIT_S
    machine = Machine()
    better = machine.model("m", (200.0 * 0.988**k for k in itertools.count()))
    (turns,) = take_turns([better], machine.now)
    assert module.STABLE < noise(turns) < module.NOISY
    assert module.LIMIT_S <= machine.s < module.LIMIT_S + 1
    machine = Machine()
    worse = machine.model("m", (100.0 * 1.02**k for k in itertools.count()))
    turns = take_turns([worse], machine.now)
    assert module.NOISY_LIMIT_S <= machine.s < module.NOISY_LIMIT_S + 1
    assert "too noisy" in str(why_not(turns))


def test_slow_models_get_more_time_but_not_all_day() -> None:
    machine = Machine()
    turns = take_turns([machine.model("m", itertools.repeat(2000.0))], machine.now)
    assert len(turns[0]) == 6
    assert why_not(turns) is None
    machine = Machine()
    turns = take_turns([machine.model("m", itertools.repeat(9000.0))], machine.now)
    assert machine.s < module.SLOW_LIMIT_S + 9
    assert why_not(turns) == "a pass is too slow: 3 turns took 30 s, and it takes 6"


def test_a_machine_that_is_too_noisy_gives_no_number() -> None:
    steady = [[1.0, 1.1, 1.3]] * 10
    assert why_not([steady, steady]) is None
    noisy = [[1.0]] * 5 + [[1.2]] * 5
    assert noise(noisy) == pytest.approx(0.2)
    assert why_not([steady, noisy]) == (
        "the machine is too noisy: the fastest passes of the two halves of the measurement differ "
        "by 20 %, more than 15 %"
    )
    assert why_not([[[1.0]] * 5 + [[1.1]] * 5]) is None
    # the five times of one model that began this: 1.5, 1.2, 1.0, 1.7 and 626 ms
    assert why_not([[[1.5], [1.2], [626.0], [1.2], [1.7], [1.5]]]) is None
    busy = [[1.0], [4.0], [626.0]] * 4
    assert why_not([busy]) == (
        "the machine is too busy: the median pass took 4.0 times as long as the fastest, more than "
        "3 times"
    )


def test_a_summary_is_of_all_passes() -> None:
    draw = np.random.default_rng(0).exponential(size=(20, 3)) + 1
    found = summary(draw.tolist(), batch_size=2)
    assert found.min == draw.min()
    assert found.median == pytest.approx(np.median(draw))
    assert found.p95 == pytest.approx(np.percentile(draw, 95))
    assert (found.passes, found.batch_size, found.threads) == (60, 2, torch.get_num_threads())
    halves = draw[:10].min(), draw[10:].min()
    assert found.noise == pytest.approx(max(halves) / min(halves) - 1)
    few = summary(draw[:8].tolist(), 1)
    assert few.p95 is None  # of 24 passes it would be the slowest but one


class Seen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 2)
        self.inputs: list[tuple[int, ...]] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(tuple(x.shape))
        self.modes.add((self.training, torch.is_inference_mode_enabled()))
        return self.layer(x.flatten(1))


def test_passes_are_those_of_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "why_not", lambda _turns: None)
    monkeypatch.setattr(module, "SHORTEST_S", 0.0)
    monkeypatch.setattr(module, "LIMIT_S", 0.0)
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    models = [Seen(), Seen()]
    found = measure(models, (3, 8, 8), batch_size=2)
    assert not isinstance(found, str)
    for model, latency in zip(models, found, strict=True):
        assert set(model.inputs) == {(2, 3, 8, 8)}
        assert model.modes == {(False, True)}
        assert 0 < latency.min <= latency.median
        assert latency.batch_size == 2
    monkeypatch.setattr(module, "why_not", lambda _turns: "the machine is too noisy")
    assert measure(models, (3, 8, 8)) == "the machine is too noisy"
