"""Frozen units compute each input that comes again once, and a run's numbers stay the same."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.models import frozen
from ttl_lightning.models.frozen import FrozenFeatures

STILL = (
    "protocol.augment.crop_scale=[1,1]", "protocol.augment.crop_ratio=[1,1]",
    "protocol.augment.rotation_degrees=0",
)  # fmt: skip
LWFT = ("strategy=lwft", "cutoff=block2")


@pytest.fixture(autouse=True)
def _always_pays(monkeypatch) -> None:
    monkeypatch.setattr(frozen, "PAYS", 0.0)


@pytest.fixture
def passed(monkeypatch) -> Counter[str]:
    """How many inputs the first unit of the frozen ones was given, training and evaluating."""
    seen: Counter[str] = Counter()
    computed = FrozenFeatures._computed

    def counting(self, x, keys) -> Any:
        seen.update(split for split, _ in keys)
        return computed(self, x, keys)

    monkeypatch.setattr(FrozenFeatures, "_computed", counting)
    return seen


def _trained(folder: Path, *overrides: str) -> ttl.RunResult:
    return ttl.train(
        overrides=[*SMALL, "protocol.learning_rate=0.01", *overrides],
        run_dir=folder,
    )


def _rows(folder: Path) -> list[list[float]]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    kept = [k for k, name in enumerate(names) if name.startswith(("train/", "val/"))]
    return [[float(line.split(",")[k]) for k in kept] for line in lines[1:]]


@pytest.mark.parametrize(
    "strategy", [("strategy=ffe",), LWFT, ("backbone=test_vit", "strategy=lwft", "cutoff=block2")]
)
def test_a_run_without_augmentation_is_the_same_run(tmp_path, passed, strategy) -> None:
    one = _trained(tmp_path / "kept", *strategy, *STILL)
    assert dict(passed) == {"train": 40, "val": 24}, "once each, in two epochs"
    other = _trained(tmp_path / "anew", *strategy, *STILL, "trainer.keep_frozen=false")
    assert dict(passed) == {"train": 40, "val": 24}
    np.testing.assert_allclose(_rows(tmp_path / "kept"), _rows(tmp_path / "anew"), atol=2e-5)
    assert one.train["kept_frozen"]["inputs"] == {"train": 40, "val": 24}
    assert "kept_frozen" not in other.train
    assert one.metrics["test/auroc"] == pytest.approx(other.metrics["test/auroc"], abs=1e-3)


def test_inputs_that_do_not_come_again_are_computed_each_time(tmp_path, passed) -> None:
    result = _trained(tmp_path, *LWFT)
    assert result.train["kept_frozen"]["inputs"] == {"val": 24}
    assert passed["train"] == 0


def test_fixed_views_come_by_turns_and_each_is_computed_once(tmp_path, passed) -> None:
    _trained(tmp_path, *LWFT, "protocol.augment.views=2", "trainer.max_epochs=5")
    assert dict(passed) == {"train": 80, "val": 24}


def test_what_memory_does_not_hold_is_computed_anew(tmp_path, passed, monkeypatch) -> None:
    whole = _trained(tmp_path / "all", *LWFT, *STILL)
    passed.clear()
    some = whole.train["kept_frozen"]["mb"] * 1e6 / 64 * 30.5
    monkeypatch.setattr("ttl_lightning.runs.build.free_memory", lambda _: some / 0.25)
    part = _trained(tmp_path / "some", *LWFT, *STILL)
    assert part.train["kept_frozen"]["inputs"] == {"train": 30}
    assert passed["train"] == 40 + 10
    np.testing.assert_allclose(_rows(tmp_path / "all"), _rows(tmp_path / "some"), atol=2e-5)


def test_what_is_as_fast_to_compute_is_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(frozen, "PAYS", 1e9)
    assert "kept_frozen" not in _trained(tmp_path, *LWFT, *STILL).train


def test_without_frozen_units_nothing_is_kept(tmp_path, passed) -> None:
    result = _trained(tmp_path, "strategy=ttl", "cutoff=block2", *STILL)
    assert not passed
    assert "kept_frozen" not in result.train


@pytest.mark.parametrize("channels_last", [False, True])
def test_outputs_are_the_models_own_of_any_mixture(channels_last) -> None:
    model = ttl.create_model("test_resnet", "lwft", "block1", 3, weights=None, image_size=(32, 32))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout).eval()
    x = torch.randn(8, 3, 32, 32).contiguous(memory_format=layout)
    features = FrozenFeatures(model, 10**9)
    for rows in ([0, 1, 2], [2, 0, 1], [5, 1, 3, 0, 5], [7, 6, 4], list(range(8))):
        found = features(x[rows], "train", torch.tensor(rows))
        torch.testing.assert_close(found, model(x[rows]))
    assert features.counts == {"train": 8}
    size = 4 * math.prod(model.backbone.truncated("block1").output_shape((32, 32)))
    assert features.bytes == 8 * size


def test_gradients_are_those_of_the_whole_pass() -> None:
    model = ttl.create_model("test_resnet", "lwft", "block1", 3, weights=None, image_size=(32, 32))
    x, rows = torch.randn(4, 3, 32, 32), torch.arange(4)
    features = FrozenFeatures(model, 10**9)
    features(x, "train", rows)
    model.zero_grad()
    model(x).square().sum().backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    features(x * 0, "train", rows).square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
