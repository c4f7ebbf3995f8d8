from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.families import LAYOUTS
from ttl_lightning.models.backbones.splitting import layout_of, split_network
from ttl_lightning.models.backbones.units import Unit
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC

Source = Callable[[str], nn.Module]


def units_of(net: nn.Module) -> tuple[Unit, ...]:
    return split_network("net", net, None).units


# timm's, all of whose networks are maps from unit to unit, and whose list says their resolutions
MODULES = ("convnext", "densenet", "efficientnet", "mobilenetv3", "regnet", "resnet", "vgg")
# units of each block, from the papers' tables; a DenseNet's transition is its block's last unit
COUNTS = {
    "resnet18": ("stem", (2, 2, 2, 2), None),
    "resnet50": ("stem", (3, 4, 6, 3), None),
    "resnext50_32x4d": ("stem", (3, 4, 6, 3), None),
    "densenet121": ("stem", (6 + 1, 12 + 1, 24 + 1, 16), "tail"),
    "efficientnet_b0": ("stem", (1, 2, 2, 3, 3, 4, 1), "tail"),
    "tf_efficientnet_lite0": ("stem", (1, 2, 2, 3, 3, 4, 1), "tail"),
    "mobilenetv2_050": ("stem", (1, 2, 3, 4, 3, 3, 1), "tail"),
    "mobilenetv3_small_050": ("stem", (1, 2, 3, 2, 3, 1), None),
    "vgg11": (None, (1, 1, 2, 2, 2), None),
    "vgg11_bn": (None, (1, 1, 2, 2, 2), None),
    "convnext_atto": ("stem", (2, 2, 6, 2), None),
    "regnetx_002": ("stem", (1, 1, 4, 7), None),
    "regnety_002": ("stem", (1, 1, 4, 7), None),
    "resnet3d_10": ("stem", (1, 1, 1, 1), None),
    "densenet3d_121": ("stem", (6 + 1, 12 + 1, 24 + 1, 16), "tail"),
    "resnext3d_50": ("stem", (3, 4, 6, 3), None),
    "penet": ("stem", (3, 4, 6, 3), None),
}


@pytest.mark.parametrize("name", COUNTS)
def test_units_of_each_family(name: str, source: Source) -> None:
    stem, counts, tail = COUNTS[name]
    blocks = [f"block{n}.{k}" for n, count in enumerate(counts, 1) for k in range(1, count + 1)]
    expected = [section for section in (stem, *blocks, tail) if section]
    assert [unit.name for unit in units_of(source(name))] == expected


@pytest.mark.parametrize("name", COUNTS)
def test_no_module_is_in_two_units_and_only_the_head_in_none(name: str, source: Source) -> None:
    net = source(name)
    pieces = [piece for unit in units_of(net) for piece in unit.pieces]
    placed = [p for piece in pieces for p in net.get_submodule(piece).parameters()]
    assert len({id(p) for p in placed}) == len(placed)
    layout = layout_of(net)
    assert layout is not None
    head = layout.head
    rest = {id(p) for p in net.parameters()} - {id(p) for p in placed}
    names = [key for key, p in net.named_parameters() if id(p) in rest]
    assert all(key.startswith(tuple(f"{path}." for path in head)) for key in names)


def test_a_section_is_the_part_before_the_point(source: Source) -> None:
    sections = [unit.section for unit in units_of(source("efficientnet_b0"))]
    assert sections[:3] == ["stem", "block1", "block2"]
    assert sections[-1] == "tail"


def test_a_network_without_a_layout_says_how_to_add_one() -> None:
    with pytest.raises(ConfigError, match=r"no layout describes torch\.Linear.*families\.py"):
        units_of(nn.Linear(2, 2))


def test_a_variant_with_an_unknown_part_is_refused() -> None:
    net = timm.create_model("test_resnet")
    net.add_module("attention", nn.Linear(2, 2))
    with pytest.raises(ConfigError) as caught:
        units_of(net)
    assert str(caught.value) == (
        "the layout of ResNet in ttl_lightning/models/backbones/families.py does not "
        "place 'attention', "
        "which this variant has; add it to a section or to the head."
    )


def test_variants_with_another_stem() -> None:
    assert units_of(timm.create_model("resnet10t"))[0].pieces == (
        "conv1",
        "bn1",
        "act1",
        "maxpool",
    )
    with torch.device("meta"):
        net = timm.create_model("densenetblur121d")
    assert units_of(net)[0].pieces[0] == "features.conv0"


def test_networks_of_the_same_class_name_are_told_apart(source: Source) -> None:
    assert layout_of(source("resnet18")) is LAYOUTS["timm.ResNet"]
    assert layout_of(source("resnet3d_10")) is LAYOUTS["monai.ResNet"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what old networks of timm say when they are built
def test_every_listed_network_fits_its_layout() -> None:
    planar = (name for module in MODULES for name in timm.list_models(module=module))
    for name in sorted((*planar, *VOLUMETRIC))[::6]:
        with torch.device("meta"):
            backbone = create_backbone(name, weights=None)
            x = torch.empty(2, 3, *[512] * backbone.spatial_dims)
        assert len(backbone.units) > 4, name
        assert nothing_writes_into_a_map_of_the_pyramid(backbone.eval(), x), name
        assert nothing_writes_into_a_map_of_the_pyramid(backbone.train(), x), name
        if backbone.spatial_dims == 2:
            check_timms_list(name, backbone)


def nothing_writes_into_a_map_of_the_pyramid(backbone: Backbone, x: Tensor) -> bool:
    """What torch counts: each writing in place gives a tensor another version."""
    with torch.no_grad():
        kept = dict[tuple[int, ...], tuple[Tensor, int]]()
        for unit, maps in backbone.walk(x):
            for shape, out in zip(unit.shapes, maps, strict=True):
                kept[shape.reduction] = out, out._version
    return all(out._version == version for out, version in kept.values())


def check_timms_list(name: str, backbone: Backbone) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name).feature_info
    ours = list(zip(backbone.channels, (by for by, _ in backbone.reductions), strict=True))
    listed = [(level["num_chs"], level["reduction"]) for level in theirs]
    if listed[0][1] == 4 and ours[0][1] == 2:  # inside a stem, and not in timm's list
        ours = ours[1:]
    # a tail, of which timm's list does not know, takes the place of the last block's map
    assert ours[:-1] == listed[:-1], name
    last = backbone.units[-1].section
    assert ours[-1] == listed[-1] or (last == "tail" and ours[-1][1] == listed[-1][1]), name
