"""Gradient checkpointing changes memory and time, and no number."""

from __future__ import annotations

import copy

import pytest
import torch

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.errors import ConfigError

NETWORKS = {
    "test_resnet": (32, 32),
    "densenet121": (32, 32),  # units that concatenate
    "test_vit": (32, 32),
    "tf_efficientnet_lite0": (32, 32),  # fused padding
    "resnet3d_10": (8, 32, 32),
}


def _stepped(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model.train()
    model(x).square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**gradients, **dict(model.named_buffers())}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_running_statistics_are_the_same(name) -> None:
    size = NETWORKS[name]
    plain = ttl.create_model(name, "ftl", weights=None, image_size=size)
    torch.nn.init.normal_(next(plain.head.parameters()))
    again = copy.deepcopy(plain)
    again.backbone.recomputes = True
    x = torch.randn(2, 3, *size)
    wanted, found = _stepped(plain, x), _stepped(again, x)
    assert wanted.keys() == found.keys()
    for key, tensor in wanted.items():
        torch.testing.assert_close(found[key], tensor, msg=key)


def test_less_is_kept_for_the_gradients() -> None:
    model = ttl.create_model("test_resnet", "ftl", weights=None, image_size=(32, 32))
    x = torch.randn(2, 3, 32, 32)

    def kept() -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(x).sum()
        return sum(sizes.values())

    before = kept()
    model.backbone.recomputes = True
    assert kept() < 0.5 * before


def test_frozen_units_stay_frozen_and_a_run_is_the_same_run(tmp_path) -> None:
    settings = [*SMALL, "strategy=lwft", "cutoff=block1"]
    one = ttl.train(overrides=settings, run_dir=tmp_path / "plain")
    other = ttl.train(
        overrides=[*settings, "trainer.gradient_checkpointing=true"], run_dir=tmp_path / "again"
    )
    assert one.config_sha256 == other.config_sha256
    assert other.metrics["val/loss"] == pytest.approx(one.metrics["val/loss"], abs=1e-6)


def test_a_network_in_one_call_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="gradient_checkpointing"):
        ttl.train(
            overrides=[*SMALL, "backbone=starnet_s1", "data.image_size=64",
                       "trainer.gradient_checkpointing=true"],
            run_dir=tmp_path / "run",
        )  # fmt: skip
