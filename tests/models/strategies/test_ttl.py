from __future__ import annotations

import pytest
import torch

from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.strategies.ttl import TTL


@pytest.mark.parametrize("cutoff", ["stem", "block1", "block2.1", "full"])
def test_truncation_gives_the_feature_at_the_cutoff(cutoff: str) -> None:
    backbone = create_backbone("mobilenetv3_small_050", weights=None).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        feature = dict(backbone.features(x))[backbone.resolve(cutoff)]
        assert torch.equal(TTL.split(backbone, backbone.resolve(cutoff))(x), feature)


def test_parameters_fall_with_the_cutoff() -> None:
    backbone = create_backbone("densenet121", weights=None)
    sizes = [
        sum(p.numel() for p in TTL.split(backbone, block).parameters())
        for block in map(backbone.resolve, backbone.blocks)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 10
