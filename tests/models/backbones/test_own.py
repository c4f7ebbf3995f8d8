"""Networks of users: by paths of their modules, registered, or by the name of what makes them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from monai.networks.nets import DenseNet121
from torch import Tensor, nn

import ttl_lightning as ttl
from ttl_lightning.config import compose as config
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.models.backbones import own, splitting
from ttl_lightning.models.backbones.layouts import Each, Layout, One
from ttl_lightning.models.backbones.named import NAMED

RESNET = {
    "stem": ["conv1", "bn1", "relu", "maxpool"],
    **{f"block{n}.{k + 1}": [f"layer{n}.{k}"] for n in range(1, 5) for k in range(2)},
}


class Mine(nn.Module):
    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 8, 3, 2, 1)
        self.stages = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1))
        self.fc = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.first(x)).mean((2, 3)))


def test_torchvisions_network_by_the_paths_of_its_units() -> None:
    net = torchvision.models.resnet18(weights=None).eval()
    backbone = ttl.Backbone.from_module(net, RESNET).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x), nn.Sequential(*list(net.children())[:-2])(x))
    assert backbone.cutoffs == tuple(RESNET)
    assert backbone.truncated("block2").state_dict().keys() < net.state_dict().keys()
    assert backbone.mean == (0.485, 0.456, 0.406)


def test_a_volumes_network_of_monai() -> None:
    net = DenseNet121(spatial_dims=3, in_channels=1, out_channels=2).eval()
    units = [[f"features.{kind}0" for kind in ("conv", "norm", "relu", "pool")],
             ["features.denseblock1", "features.transition1"]]  # fmt: skip
    backbone = ttl.Backbone.from_module(net, units, 1, example=torch.rand(1, 1, 32, 32, 32)).eval()
    assert backbone.spatial_dims == 3
    assert backbone.cutoffs == ("block1.1", "block2.1")
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(backbone(x), net.features[:6](x))


@pytest.mark.parametrize(
    ("units", "text"),
    [
        ([["conv1"], ["layer1"]], r"gives layer1 something else than what conv1 gave"),
        (
            [["conv1", "bn1", "relu", "maxpool"], ["layer2"]],
            "cannot take inputs|gives layer2",
        ),
        ({"first": ["conv1"]}, r"a unit is called stem, block1\.2 or tail, not 'first'"),
        ([], "must name one unit"),
    ],
)
def test_a_chain_that_is_none(units, text) -> None:
    with pytest.raises(ConfigError, match=text):
        ttl.Backbone.from_module(torchvision.models.resnet18(weights=None), units)


def test_an_unknown_path_and_an_unused_module() -> None:
    net = torchvision.models.resnet18(weights=None)
    with pytest.raises(UnknownNameError, match=r"unknown module 'layer9'; did you mean 'layer\d'"):
        ttl.Backbone.from_module(net, [["layer9"]])
    net.add_module("spare", nn.Conv2d(64, 64, 1))
    with pytest.raises(ConfigError, match="does not use its module spare"):
        ttl.Backbone.from_module(net, [["conv1", "bn1", "relu", "maxpool"], ["spare"]])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_REGISTERED", {})


def make(in_channels: int) -> ttl.Backbone:
    return ttl.Backbone.from_module(Mine(in_channels), {"stem": "first", "block1": "stages.0",
                                    "block2": "stages.1"}, in_channels)  # fmt: skip


def test_a_registered_one_is_made_by_its_name() -> None:
    ttl.register_backbone("mine", make)
    model = ttl.create_model("mine", "ttl", "block1", weights=None, in_channels=1, image_size=32)
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 2)
    assert model.backbone.cutoffs == ("stem", "block1.1")
    with pytest.raises(ConfigError, match="timm has a network 'resnet18'"):
        ttl.register_backbone("resnet18", make)
    ttl.register_backbone("broken", lambda: 1 / 0)
    with pytest.raises(ConfigError, match=r"backbone=broken: .* failed: ZeroDivisionError"):
        ttl.create_backbone("broken", weights=None)


def test_its_weights_are_read_and_matched(tmp_path: Path) -> None:
    ttl.register_backbone("mine", make)
    net = Mine()
    torch.save({"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}},
               tmp_path / "w.pth")  # fmt: skip
    backbone = ttl.create_backbone("mine", tmp_path / "w.pth")
    assert torch.equal(backbone.state_dict()["stages.1.weight"], net.stages[1].weight)
    assert backbone.weights_report is not None
    assert backbone.weights_report.matched == backbone.weights_report.total == 6


def test_the_pixels_it_states_are_those_of_weights_that_state_none(tmp_path: Path) -> None:
    units = {"stem": "first", "block1": ["stages.0", "stages.1"]}

    def grey(in_channels: int) -> ttl.Backbone:
        stated = (0.25,) * in_channels, (0.125,) * in_channels
        return ttl.Backbone.from_module(Mine(in_channels), units, in_channels, *stated)

    ttl.register_backbone("grey", grey)
    torch.save(Mine(1).state_dict(), tmp_path / "w.pth")
    backbone = ttl.create_backbone("grey", tmp_path / "w.pth", in_channels=1)
    assert backbone.mean == (0.25,)
    assert backbone.std == (0.125,)


def test_a_layout_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout("mine", ("fc",), block=(One(("stages.{i}",)),), stem=One(("first",)))
    kind = f"{Mine.__module__.partition('.')[0]}.Mine"
    monkeypatch.setattr(splitting, "_others", lambda: {kind: layout})
    ttl.register_backbone("mine", Mine)
    backbone = ttl.create_backbone("mine", weights=None)
    assert backbone.cutoffs == ("stem", "block1.1", "block2.1")
    wrong = replace(layout, block=(Each("stages"),))
    monkeypatch.setattr(splitting, "_others", lambda: {kind: wrong})
    with pytest.raises(ConfigError, match=r"names 'stages\.0' for every block"):
        ttl.create_backbone("mine", weights=None)
    ttl.register_backbone("linear", lambda: nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="no layout describes torch"):
        ttl.create_backbone("linear", weights=None)


def package(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import torchvision\ndef net():\n    return torchvision.models.resnet18(weights=None)\n"
    )


def test_only_what_the_user_has_named_is_imported(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(workdir / "someones_net")
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delenv(NAMED, raising=False)
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'someones_net\.net'"):
        ttl.create_backbone("someones_net.net", weights=None)
    assert "someones_net" not in sys.modules
    monkeypatch.setenv(NAMED, "someones_net.net,someones_net.nothing,no_such.net")
    backbone = ttl.create_backbone("someones_net.net", weights=None)
    assert backbone.blocks == ("block1", "block2", "block3", "block4")
    assert backbone.name == "someones_net.net"
    with pytest.raises(ConfigError, match="someones_net has no function or class nothing"):
        ttl.create_backbone("someones_net.nothing", weights=None)
    with pytest.raises(ConfigError, match=r"backbone=no_such\.net cannot be imported"):
        ttl.create_backbone("no_such.net", weights=None)


def test_the_command_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMED, "")
    given = ["backbone._target_=torchvision.models.resnet18", "strategy=ftl"]
    cfg, _ = config.read(given)
    assert cfg.backbone.name == "torchvision.models.resnet18"
    assert cfg.backbone.weights is None
    assert os.environ[NAMED] == "torchvision.models.resnet18"
    cfg, _ = config.read(["backbone=resnet50.a1_in1k"])
    assert cfg.backbone.weights == "imagenet"
