from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.splitting import split_network
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC


@functools.cache
def _source(name: str) -> nn.Module:
    torch.manual_seed(1)
    net = VOLUMETRIC[name].make(3) if name in VOLUMETRIC else timm.create_model(name)
    if name.startswith("vgg"):
        net.pre_logits = nn.Identity()  # a hundred million weights that no test reads
    for module in net.modules():  # some norms start at 0, which hides whole branches
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture
def source() -> Callable[[str], nn.Module]:
    """The source network of a name, as if it had been trained; tests share and do not change it."""
    return _source


@pytest.fixture
def wrap() -> Callable[[nn.Module], Backbone]:
    """The backbone that shares a source network's modules."""

    def build(net: nn.Module) -> Backbone:
        dims = 3 if any(isinstance(module, nn.Conv3d) for module in net.modules()) else 2
        shared = Backbone(
            "net", net, split_network("net", net, None).units, 3, (0.5,) * 3, (0.2,) * 3, dims
        )
        return shared.eval()

    return build
