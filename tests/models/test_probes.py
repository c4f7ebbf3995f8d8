from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from ttl_lightning.errors import DataError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.probes import pooled_features


def test_pooled_features_are_the_means_of_timms_own_maps() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    net = timm.create_model("test_resnet", features_only=True).eval()
    net.load_state_dict(backbone.state_dict(), strict=False)
    images = torch.rand(7, 3, 64, 64)
    pooled = pooled_features(backbone, iter(images.split(3)))
    assert tuple(pooled) == backbone.cutoffs
    with torch.no_grad():
        maps = net(images)
    for block, expected in zip(backbone.blocks, maps[-len(backbone.blocks) :], strict=True):
        given = pooled[backbone.resolve(block)]
        assert given.dtype == np.float64
        np.testing.assert_allclose(given, expected.double().mean((2, 3)).numpy(), atol=1e-6)


def test_volumes_are_pooled_over_all_three_dimensions() -> None:
    backbone = create_backbone("resnet3d_10", weights=None, in_channels=1).eval()
    volumes = torch.rand(2, 1, 8, 24, 24)
    pooled = pooled_features(backbone, [volumes])
    with torch.no_grad():
        for name, feature_map in backbone.features(volumes):
            np.testing.assert_allclose(pooled[name], feature_map.numpy().mean((2, 3, 4)), atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_pooling_leaves_the_backbone_as_it_was(training) -> None:
    backbone = create_backbone("test_resnet", weights=None).train(training)
    backbone.freeze("stem")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    # an average of each image alone: in training mode the others of the batch would move it
    images = torch.rand(4, 3, 32, 32)
    together = pooled_features(backbone, [images])
    alone = pooled_features(backbone, images.split(1))
    for name, features in together.items():
        np.testing.assert_allclose(features, alone[name], atol=1e-6)

    def broken() -> Iterator[Tensor]:
        yield images
        raise OSError("a file that cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        pooled_features(backbone, broken())
    assert [module.training for module in backbone.modules()] == modes
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_images_are_not_kept() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    seen: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[Tensor]:
        for _ in range(4):
            assert sum(ref() is not None for ref in seen) <= 1  # the one just used
            images = torch.rand(2, 3, 32, 32)
            seen.append(weakref.ref(images))
            yield images
            del images

    assert pooled_features(backbone, batches())["stem"].shape[0] == 8


def test_no_images_is_an_error() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    with pytest.raises(DataError) as caught:
        pooled_features(backbone, [])
    assert str(caught.value) == "there are no images to pool the features of test_resnet from."
