from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from ttl_lightning.errors import ConfigError, UnknownCutoffError, UnknownNameError
from ttl_lightning.models.backbones.factory import create_backbone, list_backbones
from ttl_lightning.models.backbones.splitting import split_network


def test_the_list_is_sorted_and_holds_each_family() -> None:
    names = list_backbones()
    assert names == sorted(set(names))
    assert {"resnet50", "densenet121", "efficientnet_lite0", "mobilenetv3_small_050"} <= {*names}
    assert {"vgg11_bn", "convnext_atto", "regnety_002", "seresnet50"} <= {*names}
    assert {"vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet3d_10"} <= {*names}


def test_random_weights_are_timms_own_and_report_nothing() -> None:
    torch.manual_seed(5)
    expected = timm.create_model("test_resnet").state_dict()
    torch.manual_seed(5)
    backbone = create_backbone("test_resnet", None)
    assert backbone.weights_report is None
    assert all(torch.equal(value, expected[key]) for key, value in backbone.state_dict().items())


def test_statistics_of_the_pixels() -> None:
    assert create_backbone("test_resnet", weights=None).mean == pytest.approx(
        (0.5, 0.5, 0.5), abs=0.1
    )
    backbone = create_backbone("efficientnet_b0", weights=None)
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.std == (0.229, 0.224, 0.225)
    grey = create_backbone("efficientnet_b0", in_channels=1, weights=None)
    assert grey.mean == pytest.approx((0.449,))
    assert grey.std == pytest.approx((0.226,))


@pytest.mark.parametrize("in_channels", [1, 2, 3, 5])
def test_channels(in_channels: int) -> None:
    backbone = create_backbone("test_resnet", in_channels=in_channels, weights=None)
    assert backbone.in_channels == in_channels
    assert backbone(torch.rand(2, in_channels, 32, 32)).shape[:2] == (2, 96)


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "3"])
def test_channels_that_are_no_number(given: object) -> None:
    text = rf"data\.in_channels must be an integer of at least 1, got {given!r}\."
    with pytest.raises(ConfigError, match=text):
        create_backbone("test_resnet", in_channels=given, weights=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "nearest"), [("resnet5", "resnet"), ("efficientnet_lite", "efficientnet_lite")]
)
def test_an_unknown_backbone_proposes_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        create_backbone(given, weights=None)
    text = str(caught.value)
    assert text.startswith(f"unknown backbone {given!r}; did you mean '{nearest}")
    assert "in all). For volumes: resnext3d_50, " in text


@pytest.mark.parametrize("given", ["", None, 50])
def test_a_backbone_that_is_no_name(given: object) -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown backbone "):
        create_backbone(given, weights=None)  # type: ignore[arg-type]


def test_a_tag() -> None:
    assert create_backbone("test_resnet.r160_in1k", weights=None).name == "test_resnet.r160_in1k"
    with pytest.raises(UnknownNameError) as caught:
        create_backbone("test_resnet.r161_in1k", weights=None)
    assert str(caught.value) == (
        "unknown weights tag of test_resnet 'test_resnet.r161_in1k'; did you mean "
        "'test_resnet.r160_in1k'? Allowed: test_resnet, test_resnet.r160_in1k."
    )


def test_a_network_that_gives_no_maps() -> None:
    text = r"backbone=mine: no layout describes Linear, .* ttl\.Backbone\.from_module"
    with pytest.raises(ConfigError, match=text):
        split_network("mine", nn.Linear(2, 2), (3, 8, 8))


def test_an_unknown_needed_unit_is_found_before_any_weights_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnknownCutoffError, match="unknown cutoff of test_resnet 'block9'"):
        create_backbone("test_resnet", tmp_path / "absent.pth", needed="block9")
