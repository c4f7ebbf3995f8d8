from __future__ import annotations

import torch

from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.strategies.ftl import FTL


def test_full_transfer_is_the_pretrained_network() -> None:
    backbone = create_backbone("test_resnet", weights=None).eval()
    split = FTL.split(backbone, backbone.resolve("full")).eval()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(split(x), backbone(x))
    assert all(p.requires_grad for p in split.parameters())
