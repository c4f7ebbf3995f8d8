from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC
from ttl_lightning.models.strategies.slim import half, slimmed

# a network, the unit that is kept last, and the channels after each block, by hand from the papers'
# tables: full up to the cutoff's own stage, half of the published width in every later one
WIDTHS = [
    ("resnet18", "block2", {"block1": 64, "block2": 128, "block3": 128, "block4": 256}),
    ("resnet18", "block2.1", {"block2": 128, "block3": 128, "block4": 256}),
    # block 1 adds its input, as the stem gives it, so only its inside is halved
    ("resnet18", "stem", {"stem": 64, "block1": 64, "block2": 64, "block3": 128, "block4": 256}),
    ("resnet50", "stem", {"stem": 64, "block1": 128, "block2": 256, "block3": 512, "block4": 1024}),
    ("resnet50", "block3", {"block2": 512, "block3": 1024, "block4": 1024}),
    ("resnet50", "block3.4", {"block3.4": 1024, "block3.5": 1024, "block3": 1024, "block4": 1024}),
    ("resnet50", "block4.1", {"block4.1": 2048, "block4.2": 2048, "block4": 2048}),
    ("resnext50_32x4d", "block2", {"block2": 512, "block3": 512, "block4": 1024}),
    ("seresnet50", "block2.2", {"block2": 512, "block3": 512, "block4": 1024}),
    # growth 32 becomes 16; a transition halves what it gets
    ("densenet121", "block1", {"block1": 128, "block2.1": 144, "block2.12": 320, "block2": 160}),
    ("densenet121", "block1.6", {"block1.6": 256, "block1": 128, "block2.1": 144}),
    (
        "densenet121",
        "block2.3",
        {"block2.3": 224, "block2.4": 240, "block2.12": 368, "block2": 184},
    ),
    ("densenet121", "block3", {"block3": 512, "block4.1": 528, "block4": 768, "tail": 768}),
    ("efficientnet_b0", "block3", {"block3": 40, "block4": 40, "block5": 56, "tail": 640}),
    ("efficientnet_b0", "block5.1", {"block5": 112, "block6": 96, "block7": 160, "tail": 640}),
    ("efficientnet_b0", "stem", {"stem": 32, "block1": 8, "block2": 12, "block3": 20}),
    ("mobilenetv2_050", "block3", {"block3": 16, "block4": 16, "block5": 24, "tail": 640}),
    (
        "mobilenetv3_small_050",
        "block2.1",
        {"block2": 16, "block3": 12, "block5": 24, "block6": 144},
    ),
    # block 4 adds its input, as wide as block 3's 24, so block 5 is the first to be halved
    ("mobilenetv3_small_050", "block3", {"block3": 24, "block4": 24, "block5": 24, "block6": 144}),
    ("vgg11", "block1", {"block1": 64, "block2": 64, "block3": 128, "block5": 256}),
    ("vgg11_bn", "block3.1", {"block3.1": 256, "block3": 128, "block4": 256, "block5": 256}),
    ("regnetx_002", "block2", {"block2": 56, "block3": 76, "block4": 184}),
    ("regnety_002", "block3.2", {"block3.2": 152, "block3": 152, "block4": 184}),
    ("convnext_atto", "block2", {"block2": 80, "block3": 80, "block4": 160}),
    ("convnext_atto", "block3.2", {"block3": 160, "block4": 160}),
    ("efficientnet_b0_gn", "block3", {"block3": 40, "block4": 40, "block5": 56, "tail": 640}),
    ("resnext3d_101", "block2", {"block2": 512, "block3": 512, "block4": 1024}),
    ("resnext3d_101", "block3.9", {"block3.9": 1024, "block3": 1024, "block4": 1024}),
    (
        "resnext3d_50",
        "stem",
        {"stem": 64, "block1": 128, "block2": 256, "block3": 512, "block4": 1024},
    ),
    ("penet", "block1.2", {"block1": 256, "block2": 256, "block3": 512, "block4": 1024}),
    ("resnet3d_50", "block2.2", {"block2": 512, "block3": 512, "block4": 1024}),
    ("resnet3d_18", "block2.1", {"block2": 128, "block3": 128, "block4": 256}),
    # a shortcut that pads with zeros pads to the new width
    ("resnet3d_18a", "stem", {"stem": 64, "block1": 64, "block2": 64, "block3": 128}),
    ("resnet3d_34a", "block2", {"block2": 128, "block3": 128, "block4": 256}),
    ("densenet3d_121", "block1.6", {"block1.6": 256, "block1": 128, "block2.1": 144}),
    ("densenet3d_121", "block3", {"block3": 512, "block4.1": 528, "block4": 768, "tail": 768}),
]


def on_meta(name: str) -> Backbone:
    """The backbone without values: widths need none."""
    with torch.device("meta"):
        return create_backbone(name, weights=None)


def noise(backbone: Backbone, batch_size: int, side: int) -> torch.Tensor:
    """Images or volumes, as the backbone takes them, on its device."""
    device = next(backbone.parameters()).device
    return torch.rand(batch_size, *backbone.input_shape(side), device=device)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cutoff", "expected"), WIDTHS)
def test_widths(name: str, cutoff: str, expected: dict[str, int]) -> None:
    backbone = on_meta(name).eval()
    slim = slimmed(backbone, backbone.resolve(cutoff))
    maps = dict(slim.features(noise(slim, 1, 64)))
    widths = {section: maps[backbone.resolve(section)].shape[1] for section in expected}
    assert widths == expected


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        "resnet3d_10",
        "resnet3d_18a",
        pytest.param("densenet121", marks=pytest.mark.slow),
    ],
)
def test_cutoffs_at_all_depths_run_forward_and_backward(name: str) -> None:
    backbone = create_backbone(name, weights=None)
    every = len(backbone.cutoffs) // 6 + 1
    for cutoff in backbone.cutoffs[::every]:
        slim = slimmed(backbone, cutoff).train()
        slim(noise(slim, 2, 48)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in slim.parameters())


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "resnet34",
        "efficientnet_b0",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("densenet121", "resnext3d_50", "penet")
        ),
    ],
)
def test_cutoffs_at_all_depths_fit_together(name: str) -> None:
    backbone = on_meta(name).eval()
    x = noise(backbone, 1, 64)
    sizes = []
    for cutoff in backbone.cutoffs[:: len(backbone.cutoffs) // 5]:
        slim = slimmed(backbone, cutoff)
        assert slim(x).numel()
        sizes.append(sum(p.numel() for p in slim.parameters()))
    assert sizes == sorted(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", VOLUMETRIC)
def test_every_cutoff_of_the_3d_networks_fits_together(name: str) -> None:
    backbone = on_meta(name).eval()
    x = noise(backbone, 1, 32)
    for cutoff in backbone.cutoffs:
        slim = slimmed(backbone, cutoff)
        assert slim(x).numel(), cutoff
        for conv in (m for m in slim.modules() if isinstance(m, nn.Conv3d)):
            assert conv.out_channels % conv.groups == 0
            assert conv.weight.shape[:2] == (conv.out_channels, conv.in_channels // conv.groups)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cutoff"),
    [
        ("resnet3d_10", "stem"),
        ("resnet3d_18a", "block2.1"),
        ("penet", "block3.5"),
        ("densenet3d_121", "block3.20"),
        ("resnext3d_50", "block4.2"),
    ],
)
def test_kept_units_are_copies_and_later_ones_are_new(name: str, cutoff: str) -> None:
    backbone = create_backbone(name, weights=None).eval()
    slim = slimmed(backbone, cutoff)
    kept = set(backbone.truncated(cutoff).state_dict())
    source, state = backbone.state_dict(), slim.state_dict()
    assert kept < set(state) == set(source)
    for key, value in state.items():
        if key in kept:
            assert torch.equal(value, source[key]), key
        elif value.dim() > 1:
            # a weight that keeps its shape is drawn anew too
            assert value.shape != source[key].shape or not torch.equal(value, source[key]), key
    x = noise(slim, 1, 32)
    assert torch.equal(dict(slim.features(x))[cutoff], dict(backbone.features(x))[cutoff])


def bottleneck_parameters(width: int, mid: int, out: int, *, projected: bool) -> int:
    """Of a ResNeXt's bottleneck in 3D, 32 groups, by hand."""
    convolutions = width * mid + 27 * mid * mid // 32 + mid * out
    shortcut = width * out + 2 * out if projected else 0
    return convolutions + 2 * (mid + mid + out) + shortcut


def test_parameters_of_a_slim_resnext3d() -> None:
    slim = slimmed(on_meta("resnext3d_50"), "block2.2")
    stem = 64 * 3 * 7**3 + 2 * 64
    block1 = bottleneck_parameters(64, 128, 256, projected=True)
    block1 += 2 * bottleneck_parameters(256, 128, 256, projected=False)
    # the first two of block 2 as published, the other two slim inside
    block2 = bottleneck_parameters(256, 256, 512, projected=True)
    block2 += bottleneck_parameters(512, 256, 512, projected=False)
    block2 += 2 * bottleneck_parameters(512, 128, 512, projected=False)
    block3 = bottleneck_parameters(512, 256, 512, projected=True)
    block3 += 5 * bottleneck_parameters(512, 256, 512, projected=False)
    block4 = bottleneck_parameters(512, 512, 1024, projected=True)
    block4 += 2 * bottleneck_parameters(1024, 512, 1024, projected=False)
    expected = stem + block1 + block2 + block3 + block4
    assert sum(p.numel() for p in slim.parameters()) == expected


def test_inner_widths_of_a_bottleneck() -> None:
    slim = slimmed(on_meta("resnet50"), "block3.4").net
    same, later = (slim.get_submodule(path) for path in ("layer3.4", "layer4.0"))
    shapes = {key: tuple(value.shape) for key, value in same.state_dict().items() if "conv" in key}
    assert shapes == {
        "conv1.weight": (128, 1024, 1, 1),
        "conv2.weight": (128, 128, 3, 3),
        "conv3.weight": (1024, 128, 1, 1),
    }
    assert later.get_parameter("conv1.weight").shape == (256, 1024, 1, 1)
    assert later.get_parameter("downsample.0.weight").shape == (1024, 1024, 1, 1)


def test_groups_and_squeezes_stay_in_proportion() -> None:
    slim = slimmed(on_meta("resnext50_32x4d"), "block2.4").net
    conv = slim.get_submodule("layer3.1.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert (conv.groups, conv.in_channels, conv.weight.shape[1]) == (32, 256, 8)
    slim = slimmed(on_meta("efficientnet_b0"), "block3.2").net
    depthwise = slim.get_submodule("blocks.4.0.conv_dw")
    assert isinstance(depthwise, nn.Conv2d)
    assert depthwise.groups == depthwise.in_channels == depthwise.out_channels == 240
    assert slim.get_parameter("blocks.4.0.se.conv_reduce.weight").shape == (10, 240, 1, 1)
    assert slim.get_parameter("blocks.4.0.se.conv_expand.weight").shape == (240, 10, 1, 1)


def test_group_norms_keep_the_channels_of_a_group() -> None:
    net = slimmed(on_meta("penet"), "block2.2").net
    groups = {
        path: (norm.num_groups, norm.num_channels)
        for path, norm in net.named_modules()
        if isinstance(norm, nn.GroupNorm) and path.startswith(("encoders.1", "encoders.2.pen"))
    }
    inside = "encoders.1.penet_blocks.2"
    assert groups[f"{inside}.norm1"] == groups[f"{inside}.norm2"] == (8, 128)
    assert groups[f"{inside}.norm3"] == (32, 512)
    assert groups["encoders.2.penet_blocks.0.norm1"] == (16, 256)
    assert groups["encoders.2.penet_blocks.0.down_sample.1"] == (32, 512)
    assert all(channels == 16 * n for n, channels in groups.values())


def test_group_norms_divide_widths_that_are_no_multiple_of_a_group() -> None:
    """Groups of 8 channels, as published, and halves of 24, 40, 80 and 112."""
    slim = slimmed(on_meta("efficientnet_b0_gn"), "stem")
    norms = [slim.net.get_submodule(f"blocks.{k}.0.bn3") for k in range(1, 5)]
    groups = [(norm.num_channels, norm.num_groups) for norm in norms]
    assert groups == [(12, 1), (20, 2), (40, 5), (56, 7)]
    assert slim(noise(slim, 1, 64)).numel()


def test_inner_widths_of_a_penet_bottleneck() -> None:
    slim = slimmed(on_meta("penet"), "block2.2").net
    same, later = (
        slim.get_submodule(f"encoders.{i}.penet_blocks.{k}") for i, k in ((1, 2), (2, 0))
    )
    shapes = {key: tuple(value.shape) for key, value in same.state_dict().items()}
    assert shapes["conv2.weight"] == (128, 4, 3, 3, 3)
    assert shapes["conv3.weight"] == (512, 128, 1, 1, 1)
    assert shapes["se_block.excite.0.weight"] == (16, 512)
    assert shapes["se_block.excite.2.weight"] == (512, 16)
    assert later.get_parameter("conv1.weight").shape == (256, 512, 1, 1, 1)
    assert later.get_parameter("down_sample.0.weight").shape == (512, 512, 1, 1, 1)
    assert later.get_parameter("se_block.excite.2.bias").shape == (512,)


@pytest.mark.parametrize(
    ("name", "cutoff", "key", "fan_out"),
    [
        ("resnet50", "block3.6", "layer4.1.conv2.weight", 256 * 9),
        ("resnext50_32x4d", "block3.6", "layer4.1.conv2.weight", 512 * 9 // 32),
        ("resnet3d_10", "block3.1", "layer4.0.conv2.weight", 256 * 27),
        # a depthwise filter writes one channel
        ("efficientnet_b0", "block5.3", "blocks.6.0.conv_dw.weight", 9),
    ],
)
def test_weights_are_drawn_from_hes_distribution(
    name: str, cutoff: str, key: str, fan_out: int
) -> None:
    weight = slimmed(create_backbone(name, weights=None), cutoff).state_dict()[key]
    assert weight.mean().abs() < 4 * weight.std() / math.sqrt(weight.numel())
    assert weight.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


def test_half_a_width_is_never_nothing() -> None:
    assert [half(width) for width in (1, 2, 3, 64)] == [1, 1, 1, 32]


@pytest.mark.parametrize(
    ("name", "cutoff", "path", "kind"),
    [
        ("mobilenetv4_conv_small", "block1.1", "blocks.2.0", "UniversalInvertedResidual"),
        ("ecaresnet26t", "block1.2", "layer2.0.se", "EcaModule"),
        ("convnextv2_atto", "block2.2", "stages.2.blocks.0.mlp.grn", "GlobalResponseNorm"),
    ],
)
def test_what_is_not_described_is_refused(name: str, cutoff: str, path: str, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        slimmed(on_meta(name), cutoff)
    assert str(caught.value) == (
        f"strategy=tf cannot slim {path}: the widths of {kind} are not described in "
        "ttl_lightning/models/strategies/widths.py (CHILDREN); those of ResNets, DenseNets, "
        "EfficientNets, MobileNets up to V3, VGGs, ConvNeXts, RegNets and PENet are."
    )
