from __future__ import annotations

import functools
import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

from ttl_lightning.errors import ConfigError
from ttl_lightning.tasks.schedules import cosine_with_warmup, create_scheduler, warmup_cosine


def optimizer() -> torch.optim.Optimizer:
    first, second = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    return torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 0.1}])


def trainer(**settings: object) -> Any:
    usual = {
        "estimated_stepping_batches": 20,
        "enable_validation": True,
        "check_val_every_n_epoch": 1,
        "limit_val_batches": 1.0,
    }
    return SimpleNamespace(**(usual | settings))


def test_cosine_equals_torch_without_warmup() -> None:
    ours, theirs = optimizer(), optimizer()
    schedule = cosine_with_warmup(ours, 20, warmup_fraction=0.0)
    reference = CosineAnnealingLR(theirs, T_max=20)
    for _ in range(20):
        for mine, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert mine["lr"] == pytest.approx(other["lr"], abs=1e-12)
        ours.step()
        theirs.step()
        schedule.step()
        reference.step()
    assert ours.param_groups[0]["lr"] == 0.0


def test_warmup_rises_in_a_line_to_the_base_rate() -> None:
    factors = [warmup_cosine(step, 100, 4) for step in range(101)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a > b for a, b in itertools.pairwise(factors[4:]))
    assert factors[-1] == 0.0
    assert factors[52] == pytest.approx(0.5)
    assert warmup_cosine(105, 100, 4) == 0.0


def test_warmup_fraction_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"warmup_fraction must be a number from 0 to 1, got 2"):
        cosine_with_warmup(optimizer(), 10, warmup_fraction=2)


def test_a_schedule_by_steps_learns_how_many_there_are() -> None:
    partial = functools.partial(OneCycleLR, max_lr=1.0)
    schedule = create_scheduler(partial, optimizer(), trainer(), "step")
    assert isinstance(schedule, OneCycleLR)
    assert schedule.total_steps == 20


@pytest.mark.parametrize("total", [math.inf, 0])
def test_a_run_without_an_end_has_no_schedule_by_steps(total: float) -> None:
    endless = trainer(estimated_stepping_batches=total)
    with pytest.raises(ConfigError, match=r"needs a run with an end: set trainer.max_epochs"):
        create_scheduler(cosine_with_warmup, optimizer(), endless, "step")


def test_a_schedule_by_steps_must_take_their_number() -> None:
    partial = functools.partial(StepLR, step_size=1)
    with pytest.raises(
        ConfigError, match=r"must take total_steps .*OneCycleLR do, StepLR does not"
    ):
        create_scheduler(partial, optimizer(), trainer(), "step")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"enable_validation": False, "limit_val_batches": 0}, "limit_val_batches above 0, got 0"),
        ({"check_val_every_n_epoch": None}, "check_val_every_n_epoch to be a number"),
    ],
)
def test_a_plateau_needs_validation(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_scheduler(ReduceLROnPlateau, optimizer(), trainer(**settings), "epoch")
    other = functools.partial(StepLR, step_size=1)
    assert isinstance(create_scheduler(other, optimizer(), trainer(**settings), "epoch"), StepLR)
