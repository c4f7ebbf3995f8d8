from __future__ import annotations

import torch

from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.strategies.tf import TF


def test_the_feature_at_the_cutoff_is_the_pretrained_one() -> None:
    backbone = create_backbone("densenet121", weights=None).eval()
    split = TF.split(backbone, backbone.resolve("block2"))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        theirs, ours = dict(backbone.features(x)), dict(split.features(x))
    kept = backbone.cutoffs[: backbone.index("block2")]
    assert all(torch.equal(ours[name], theirs[name]) for name in kept)
    assert ours["block3.1"].shape[1] - ours["block2.13"].shape[1] == 16


def test_a_cutoff_at_the_end_keeps_all() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    theirs = backbone.state_dict()
    ours = TF.split(backbone, backbone.resolve("full")).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
