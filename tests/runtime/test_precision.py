from __future__ import annotations

import contextlib
import copy
import itertools
import math

import pytest
import torch
from torch import nn

from ttl_lightning.runtime import precision
from ttl_lightning.runtime.precision import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    SETTINGS,
    Setting,
    choose,
    pick,
    to_channels_last,
)

PLAIN, LAST, BF16 = SETTINGS["cpu"]
SHAPE = (4, 3, 16, 16)


class Tiny(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 2),
        )


class Stopwatch:
    """Says what it is told to; runs no step. A list of times is used up turn by turn."""

    def __init__(self, seconds: dict[Setting, float | list[float]]) -> None:
        self.seconds = {
            s: itertools.cycle(t if isinstance(t, list) else [t]) for s, t in seconds.items()
        }
        self.asked: list[Setting] = []

    def __call__(self, setting: Setting, _step: precision.Step) -> float:
        self.asked.append(setting)
        return next(self.seconds[setting])


def fake(plain: float, last: float, bf16: float) -> Stopwatch:
    return Stopwatch({PLAIN: plain, LAST: last, BF16: bf16})


def test_pick_takes_the_fastest_by_a_margin():
    assert pick({PLAIN: [2.0], LAST: [1.5], BF16: [1.0]}) == BF16
    assert pick({PLAIN: [2.0], LAST: [1.0], BF16: [3.0]}) == LAST
    assert pick({PLAIN: [1.0], LAST: [1.1], BF16: [5.0]}) == PLAIN


def test_pick_prefers_the_plainer_of_two_that_are_close():
    assert pick({PLAIN: [1.14], LAST: [1.0]}) == PLAIN
    assert pick({PLAIN: [1.16], LAST: [1.0]}) == LAST
    assert pick({PLAIN: [2.0], LAST: [1.1], BF16: [1.0]}) == LAST


def test_pick_is_not_misled_by_one_lucky_or_unlucky_step():
    assert pick({PLAIN: [1.0, 1.0, 1.0], BF16: [0.5, 1.0, 1.0]}) == PLAIN
    assert pick({PLAIN: [1.0, 9.0, 9.0], BF16: [1.0, 1.0, 1.0]}) == PLAIN
    assert pick({PLAIN: [2.0, 2.0, 2.0], BF16: [1.0, 1.0, 9.0]}) == BF16


@pytest.mark.parametrize(
    ("stopwatch", "chosen"),
    [(fake(1.0, 0.9, 0.4), BF16), (fake(1.0, 0.5, 0.9), LAST), (fake(1.0, 0.95, 0.9), PLAIN)],
)
def test_choose_takes_what_was_fastest(stopwatch, chosen):
    choice = choose(Tiny(), SHAPE, stopwatch=stopwatch)
    assert (choice.precision, choice.channels_last) == (chosen.precision, chosen.channels_last)
    assert choice.timings_ms.keys() == {s.name for s in SETTINGS["cpu"]}
    assert choice.timings_ms[chosen.name] == pytest.approx(1e3 * next(stopwatch.seconds[chosen]))


def test_the_model_and_the_random_generators_stay_as_they_were():
    model = Tiny().eval()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    choice = choose(model, SHAPE, budget_s=0.0)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model[0].parameters()] == [False, False]
    assert not any(module.training for module in model.modules())
    assert model[0].weight.is_contiguous()
    assert all(ms > 0 for ms in choice.timings_ms.values())


def test_every_setting_runs_what_its_name_says():
    seen: dict[Setting, tuple[torch.dtype, bool]] = {}

    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen[current] = (x.dtype, x.is_contiguous(memory_format=torch.channels_last))
            return x

    def stopwatch(setting: Setting, step: precision.Step) -> float:
        nonlocal current
        current = setting
        assert math.isfinite(step())
        return 1.0

    current = PLAIN
    model = Tiny()
    model.insert(1, Probe())  # after the convolution
    choose(model, SHAPE, budget_s=0.0, stopwatch=stopwatch)
    assert seen == {
        PLAIN: (torch.float32, False),
        LAST: (torch.float32, True),
        BF16: (torch.bfloat16, True),
    }


def test_settings_take_turns_within_the_budget():
    for budget_s, rounds in ((0.0, MIN_ROUNDS), (15.0, 5), (1e9, MAX_ROUNDS)):
        stopwatch = fake(1.0, 1.0, 1.0)
        choose(Tiny(), SHAPE, budget_s=budget_s, stopwatch=stopwatch)
        assert stopwatch.asked == [PLAIN, LAST, BF16] * rounds


def test_a_setting_that_cannot_win_is_measured_twice_only():
    stopwatch = fake(1.0, 1.0, 5.0)
    choose(Tiny(), SHAPE, budget_s=0.0, stopwatch=stopwatch)
    assert stopwatch.asked == [PLAIN, LAST, BF16] * 2 + [PLAIN, LAST]


def test_measuring_ends_when_only_one_can_win():
    stopwatch = fake(2.0, 2.0, 1.0)
    choose(Tiny(), SHAPE, budget_s=1e9, stopwatch=stopwatch)
    assert stopwatch.asked == [PLAIN, LAST, BF16] * 2 + [BF16]


def test_a_slow_first_step_rules_nothing_out():
    slow_start = [9.0, *[0.5] * (MAX_ROUNDS - 1)]
    stopwatch = Stopwatch({PLAIN: 1.0, LAST: 1.0, BF16: slow_start})
    assert choose(Tiny(), SHAPE, stopwatch=stopwatch).precision == "bf16-mixed"


def test_a_setting_whose_loss_is_not_finite_is_not_chosen():
    class Overflow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * math.inf if x.dtype == torch.bfloat16 else x

    choice = choose(nn.Sequential(Tiny(), Overflow()), SHAPE, budget_s=0.0)
    assert choice.precision == "32-true"
    assert BF16.name not in choice.timings_ms
    assert pick({PLAIN: [1.0, 1.0, 1.0], BF16: [0.1, 0.1, math.inf]}) == PLAIN


def test_the_batch_measured_is_a_threads_share_that_is_bounded(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert precision._samples((16, 3, 64, 64), cpu) == 8
    assert precision._samples((64, 3, 64, 64), cpu) == 2 * 224**2 // 64**2
    assert precision._samples((64, 3, 64, 64), cuda) == 64
    assert precision._samples((1, 3, 64, 64), cpu) == 2
    assert precision._samples((4, 1, 512, 512, 64), cpu) == 2


@pytest.mark.parametrize("interrupted", [False, True])
def test_one_thread_is_measured_and_the_number_restored(interrupted):
    def stopwatch(_setting: Setting, _step: precision.Step) -> float:
        assert torch.get_num_threads() == 1
        if interrupted:
            raise KeyboardInterrupt
        return 1.0

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            choose(Tiny(), SHAPE, stopwatch=stopwatch)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_given_layout_is_kept():
    stopwatch = Stopwatch({LAST: 1.0, BF16: 0.5})
    assert choose(Tiny(), SHAPE, channels_last=True, stopwatch=stopwatch).precision == "bf16-mixed"
    choice = choose(Tiny(), SHAPE, channels_last=False)
    assert (choice.precision, choice.channels_last, choice.timings_ms) == ("32-true", False, {})


def test_other_devices_get_plain_float32_unmeasured():
    choice = choose(Tiny(), SHAPE, "meta")
    assert (choice.precision, choice.channels_last, choice.timings_ms) == ("32-true", False, {})


@pytest.mark.parametrize("supported", [True, False])
def test_gpus_are_asked_whether_they_have_bfloat16(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    settings = precision._settings(torch.device("cuda"), channels_last=None)
    assert ("bf16-mixed" in {s.precision for s in settings}) is supported
    assert settings[0] == PLAIN


def test_a_model_with_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="empty parameter list"):
        choose(Tiny().requires_grad_(False), SHAPE)


def test_to_channels_last_changes_strides_alone():
    torch.manual_seed(0)
    model = nn.ModuleDict({"plane": Tiny(), "volume": nn.Conv3d(2, 4, 3)})
    before = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    to_channels_last(model)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert model["plane"][0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model["volume"].weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_bfloat16_learns_as_float32_does_with_float32_weights():
    losses = {}
    for setting in (PLAIN, BF16):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 2),
        )
        if setting.channels_last:
            to_channels_last(model)
        labels = torch.arange(32) % 2
        images = torch.randn(32, 1, 12, 12) * (1.0 + labels.view(-1, 1, 1, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(40):
            with torch.autocast("cpu", torch.bfloat16, enabled=setting.precision == "bf16-mixed"):
                logits = model(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[setting] = loss.item()
        state = [t for s in optimizer.state.values() for t in s.values()]
        assert {t.dtype for t in (*model.parameters(), *state)} == {torch.float32}
    assert losses[PLAIN] < 0.3
    assert losses[BF16] == pytest.approx(losses[PLAIN], abs=0.05)
