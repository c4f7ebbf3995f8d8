"""The gradients themselves are in benchmarks/bfloat16.py: wrong ones may end the process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ttl_lightning as ttl
from ttl_lightning.runtime.bfloat16 import wrong_in_bfloat16
from ttl_lightning.runtime.precision import choose


def test_every_filter_of_three_dimensions_counts() -> None:
    model = ttl.create_model("resnet3d_10", "ttl", "block1", image_size=(8, 24, 24), weights=None)
    assert wrong_in_bfloat16(model, (3, 8, 24, 24)) == "backbone.net.conv1"
    assert wrong_in_bfloat16(nn.Conv3d(1, 1, 1), (1, 2, 2, 2)) is None


@pytest.mark.parametrize(
    ("size", "name"), [((3, 2, 2), None), ((3, 2, 1), "1"), ((3, 1, 2), "1"), ((3, 8, 9), None)]
)
def test_a_strided_filter_on_a_map_one_pixel_wide(size: tuple[int, ...], name: str | None) -> None:
    plain, strided = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
    model = nn.Sequential(plain, strided, nn.Conv2d(4, 4, 1, stride=2)).train()
    assert wrong_in_bfloat16(model, size) == name
    assert model.training
    assert not strided._forward_pre_hooks


def test_images_of_usual_size_may_be_trained_in_bfloat16() -> None:
    model = ttl.create_model("resnet18", "ftl", image_size=64, weights=None)
    assert wrong_in_bfloat16(model, (3, 64, 64)) is None
    assert wrong_in_bfloat16(model, (3, 16, 16)) == "backbone.net.layer4.0.conv1"


def test_the_choice_on_a_cpu_leaves_bfloat16_out_for_volumes() -> None:
    model = ttl.create_model("resnet3d_10", "ttl", "block1", image_size=(8, 24, 24), weights=None)
    choice = choose(model, (2, 3, 8, 24, 24), "cpu", budget_s=0.1, stopwatch=lambda _, step: step())
    assert choice.precision == "32-true"
    assert set(choice.timings_ms) <= {"32-true contiguous", "32-true channels_last"}
    assert torch.isfinite(torch.tensor(list(choice.timings_ms.values()))).all()
