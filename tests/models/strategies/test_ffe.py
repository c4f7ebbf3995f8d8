from __future__ import annotations

import torch
from torch import nn

from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies.ffe import FFE


def test_training_mode_gives_the_features_of_evaluation_mode() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    split = FFE.split(backbone, backbone.resolve("full")).train()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(split(x), backbone.eval()(x))
    assert not split(x).requires_grad


def test_only_the_linear_layer_learns() -> None:
    model = create_model("efficientnet_b0", "ffe", image_size=32, weights=None)
    assert {key for key, p in model.named_parameters() if p.requires_grad} == {
        "head.fc.weight",
        "head.fc.bias",
    }
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
