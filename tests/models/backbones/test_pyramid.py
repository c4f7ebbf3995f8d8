"""Channels and reductions of units, and the pyramid of maps, beside timm's own and real passes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC
from ttl_lightning.models.strategies import STRATEGIES

Source = Callable[[str], nn.Module]
Wrap = Callable[[nn.Module], Backbone]

# timm's list of maps leaves out the tail of the networks with one last wide convolution
TAILED = ("efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_050")
PLANAR = (
    "test_resnet",
    "resnet50",
    "resnet10t",
    "densenet121",
    *TAILED,
    "mobilenetv3_small_050",
    "vgg11",
    "vgg11_bn",
    "convnext_atto",
    "regnetx_002",
    "regnety_002",
)
# (channels, reduction of depth, of height and width), from the papers' and MONAI's tables
DEEP = {
    "resnet3d_10": ((64, 2, 2), (64, 4, 4), (128, 8, 8), (256, 16, 16), (512, 32, 32)),
    "resnet3d_18a": ((64, 2, 2), (64, 4, 4), (128, 8, 8), (256, 16, 16), (512, 32, 32)),
    "resnet3d_50": ((64, 2, 2), (256, 4, 4), (512, 8, 8), (1024, 16, 16), (2048, 32, 32)),
    "densenet3d_121": ((64, 2, 2), (256, 4, 4), (512, 8, 8), (1024, 16, 16), (1024, 32, 32)),
    "resnext3d_50": ((64, 1, 2), (256, 2, 4), (512, 4, 8), (1024, 8, 16), (2048, 16, 32)),
    "penet": ((64, 1, 2), (256, 2, 4), (512, 4, 8), (1024, 8, 16), (2048, 16, 32)),
}
SPIED = [*PLANAR, "resnet3d_10", "densenet3d_121", "resnext3d_50", "penet"]


def inputs(name: str, n: int = 1) -> Tensor:
    shape = (64, 64)
    if name in VOLUMETRIC:
        shape = (32, 32, 32) if name.startswith("densenet") else (16, 32, 32)
    return torch.rand(n, 3, *shape, generator=torch.Generator().manual_seed(3)) - 0.4


def without_tail(name: str, backbone: Backbone) -> Backbone:
    return backbone.truncated("block7") if name in TAILED else backbone


@pytest.mark.parametrize("name", SPIED)
def test_a_unit_knows_what_a_real_pass_gives(name: str, source: Source, wrap: Wrap) -> None:
    backbone, x = wrap(source(name)), inputs(name)
    with torch.no_grad():
        features = dict(backbone.features(x))
    for unit in backbone.units:
        sizes = zip(x.shape[2:], unit.reduction, strict=True)
        expected = (unit.channels, *(math.ceil(size / by) for size, by in sizes))
        assert tuple(features[unit.name].shape[1:]) == expected, unit.name


@pytest.mark.parametrize("name", PLANAR)
def test_the_pyramid_is_timms(name: str, source: Source, wrap: Wrap) -> None:
    net, x = source(name), inputs(name, 2)
    backbone = without_tail(name, wrap(net))
    info = net.feature_info
    assert backbone.channels == tuple(level["num_chs"] for level in info)
    assert backbone.reductions == tuple((level["reduction"],) * 2 for level in info)
    with torch.no_grad():
        theirs = net.forward_intermediates(x, intermediates_only=True)
        ours = backbone.pyramid(x)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    ("name", "tail"), [("efficientnet_b0", 1280), ("tf_efficientnet_lite0", 1280)]
)
def test_a_tail_is_the_last_map_of_its_resolution(
    name: str, tail: int, source: Source, wrap: Wrap
) -> None:
    net, x = source(name), inputs(name)
    backbone = wrap(net)
    assert (backbone.channels[-1], backbone.reductions[-1]) == (tail, (32, 32))
    with torch.no_grad():
        assert torch.equal(backbone.pyramid(x)[-1], net.forward_features(x))


def test_it_is_the_usual_encoder_of_a_u_net(source: Source, wrap: Wrap) -> None:
    """What segmentation_models_pytorch takes of a ResNet, written out with its modules."""
    net, x = source("resnet18"), inputs("resnet18", 2)
    backbone = wrap(net)
    with torch.no_grad():
        maps = [net.act1(net.bn1(net.conv1(x)))]
        maps.append(net.layer1(net.maxpool(maps[-1])))
        for layer in (net.layer2, net.layer3, net.layer4):
            maps.append(layer(maps[-1]))
        ours = backbone.pyramid(x)
    assert [by for by, _ in backbone.reductions] == [2, 4, 8, 16, 32]
    assert all(torch.equal(*pair) for pair in zip(ours, maps, strict=True))


@pytest.mark.parametrize(
    ("cutoff", "params", "channels"),
    [
        ("full", 21_284_672, (64, 64, 128, 256, 512)),
        ("block3", 8_170_304, (64, 64, 128, 256)),
        ("block2", 1_347_904, (64, 64, 128)),
        ("block1", 231_488, (64, 64)),
    ],
)
def test_a_cut_encoder_of_a_u_net_holds_nothing_that_is_not_used(
    cutoff: str, params: int, channels: tuple[int, ...]
) -> None:
    """Parameters of segmentation_models_pytorch's encoder without the layers after its depth."""
    with torch.device("meta"):
        part = create_backbone("resnet34", weights=None).truncated(cutoff)
    assert part.channels == channels
    assert sum(p.numel() for p in part.parameters()) == params


@pytest.mark.parametrize("name", DEEP)
def test_volumes_have_a_reduction_an_axis(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name, weights=None)
    levels = zip(backbone.channels, backbone.reductions, strict=True)
    assert list(levels) == [(channels, (depth, side, side)) for channels, depth, side in DEEP[name]]


def test_a_stem_of_two_steps_gives_both_its_maps() -> None:
    """timm's list of this network begins at 4; a decoder also wants the map between the steps."""
    net = timm.create_model("convnext_atto_ols").eval()
    backbone, x = create_backbone("convnext_atto_ols", weights=None).eval(), inputs("")
    backbone.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        half, *rest = backbone.pyramid(x)
        theirs = net.forward_intermediates(x, intermediates_only=True)
        assert torch.equal(half, net.stem[0](x))
    assert [by for by, _ in backbone.reductions] == [2, 4, 8, 16, 32]
    assert all(torch.equal(*pair) for pair in zip(rest, theirs, strict=True))


def spy(backbone: Backbone, x: Tensor) -> tuple[tuple[Tensor, ...], list[tuple[Tensor, Tensor]]]:
    """The pyramid, and what every piece gave, itself and as it was at once."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(_: nn.Module, __: object, out: Tensor) -> None:
        seen.append((out, out.detach().clone()))

    pieces = [backbone.net.get_submodule(p) for unit in backbone.units for p in unit.pieces]
    handles = [piece.register_forward_hook(hook) for piece in pieces]
    maps = backbone.pyramid(x)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(pieces)
    return maps, seen


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", SPIED)
def test_maps_are_no_copies_and_nothing_writes_into_them(
    name: str, train: bool, source: Source, wrap: Wrap
) -> None:
    backbone = wrap(copy.deepcopy(source(name))).train(train)
    maps, seen = spy(backbone, inputs(name, 2))
    at_once = {id(out): value for out, value in seen}
    joined = {unit.pieces[-1] for unit in backbone.units if unit.concat}
    kept = [m for m in maps if id(m) in at_once]
    assert all(torch.equal(m, at_once[id(m)]) for m in kept)
    # a dense layer's map is what it was given and what it adds, so no module gives it
    assert len(kept) == len(maps) - (4 - 1 if joined else 0)
    assert len(seen) == sum(len(unit.pieces) for unit in backbone.units)  # in one pass


@pytest.mark.parametrize(
    ("cutoff", "channels"),
    [
        ("stem", (64, 64)),
        ("block1.1", (64, 256)),
        ("block2", (64, 256, 512)),
        ("block3.1", (64, 256, 512, 1024)),
    ],
)
def test_a_truncated_network_gives_the_maps_that_are_left(
    cutoff: str, channels: tuple[int, ...], source: Source, wrap: Wrap
) -> None:
    whole, x = wrap(source("resnet50")), inputs("", 2)
    part = whole.truncated(cutoff)
    assert part.channels == channels
    assert part.reductions == whole.reductions[: len(channels)]
    with torch.no_grad():
        *before, last = part.pyramid(x)
        assert torch.equal(last, dict(whole.features(x))[whole.resolve(cutoff)])
        assert all(torch.equal(*pair) for pair in zip(before, whole.pyramid(x), strict=False))


@pytest.mark.parametrize("name", ["test_resnet", "vgg11_bn", "densenet121", "resnet3d_10", "penet"])
@pytest.mark.parametrize("cutoff", ["block1.1", "block2"])
def test_half_the_channels_are_known_too(
    name: str, cutoff: str, source: Source, wrap: Wrap
) -> None:
    whole, x = wrap(source(name)), inputs(name)
    slim = STRATEGIES["tf"].split(whole, whole.resolve(cutoff)).eval()
    with torch.no_grad():
        maps, features = slim.pyramid(x), dict(slim.features(x))
    assert slim.channels == tuple(m.shape[1] for m in maps)
    # exactly half but for DenseNets, which hand on what they kept
    assert slim.channels[-1] == pytest.approx(whole.channels[-1] / 2, rel=0.3)
    assert slim.reductions == whole.reductions
    assert [unit.channels for unit in slim.units] == [f.shape[1] for f in features.values()]
    at = whole.index(cutoff)
    assert [u.channels for u in slim.units[:at]] == [u.channels for u in whole.units[:at]]


def test_frozen_units_give_maps_without_gradients() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    held = STRATEGIES["lwft"].split(backbone, backbone.resolve("block2")).train()
    before = copy.deepcopy(held.state_dict())
    maps = held.pyramid(inputs("", 2))
    assert [m.requires_grad for m in maps] == [False, False, False, True, True]
    moved = {
        k.partition(".")[0] for k, v in held.state_dict().items() if not torch.equal(v, before[k])
    }
    assert moved == {"layer3", "layer4"}


class Pyramid(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.backbone.pyramid(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "densenet121", "resnet3d_10"])
@pytest.mark.parametrize("strict", [False, True])
def test_it_can_be_exported(name: str, strict: bool, source: Source, wrap: Wrap) -> None:
    module, x = Pyramid(wrap(source(name))), inputs(name)
    again = torch.export.export(module, (x,), strict=strict).module()
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(again(x), module(x), strict=True))


def test_it_can_be_traced_copied_and_pickled(source: Source, wrap: Wrap) -> None:
    module, x = Pyramid(wrap(source("test_resnet"))), inputs("")
    again = (torch.jit.trace(module, x), copy.deepcopy(module), pickle.loads(pickle.dumps(module)))
    with torch.no_grad():
        for twin in again:
            assert all(torch.equal(*pair) for pair in zip(twin(x), module(x), strict=True))
    assert again[-1].backbone.channels == module.backbone.channels
