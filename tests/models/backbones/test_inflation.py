from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones import hub
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.backbones.inflation import inflated, is_planar
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC

Source = Callable[[str], nn.Module]

PAIRS = [(name, network.planar) for name, network in VOLUMETRIC.items() if network.planar]
# A volume deep enough that the zeros beyond its ends do not reach the slices in the middle, and
# how far the network is followed: its reach in slices must be less than the depth.
DEPTHS = [
    ("resnet3d_18", "full", 512),  # a reach of 435
    pytest.param("resnet3d_50", "block3", 384, marks=pytest.mark.slow),  # 291
    # 217, since its stem keeps the slices
    pytest.param("resnext3d_50", "full", 256, marks=pytest.mark.slow),
    ("densenet3d_121", "block1", 96),  # 63
]


def saved(net: nn.Module, folder: Path) -> Path:
    path = folder / "planar.safetensors"
    save_file(net.state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cutoff", "depth"), DEPTHS)
def test_identical_slices_give_the_2d_response(
    name: str, cutoff: str, depth: int, source: Source, tmp_path: Path
) -> None:
    planar = VOLUMETRIC[name].planar
    assert planar
    path = saved(source(planar), tmp_path)
    flat = create_backbone(planar, path, needed=cutoff).truncated(cutoff).eval()
    deep = create_backbone(name, path, needed=cutoff).truncated(cutoff).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = flat(image)
        response = deep(image[:, :, None].expand(-1, -1, depth, -1, -1))
    middle = response.shape[2] // 2
    torch.testing.assert_close(response[:, :, middle], expected, rtol=1e-3, atol=1e-4)
    # at the ends the zeros are within reach
    assert not torch.allclose(response[:, :, 0], expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("name", "planar"), PAIRS)
def test_every_tensor_of_the_2d_network_has_its_place(name: str, planar: str) -> None:
    with torch.device("meta"):
        flat = timm.create_model(planar).state_dict()
        state = create_backbone(name, weights=None).state_dict()
    renamed = inflated(VOLUMETRIC[name].renamed(flat), state)
    heads = [key for key in renamed if key.startswith(("fc.", "classifier."))]
    assert len(heads) == 2
    shapes = {key: value.shape for key, value in renamed.items() if key not in heads}
    assert shapes == {key: value.shape for key, value in state.items()}


def test_the_report_says_so(source: Source, tmp_path: Path) -> None:
    path = saved(source("resnet18"), tmp_path)
    backbone = create_backbone("resnet3d_18", path)
    report = backbone.weights_report
    assert report is not None
    assert report.inflated
    assert (report.matched, report.total) == (120, 120)
    assert str(report).startswith(f"weights: 120 of 120 tensors matched from {path}, SHA-256 ")
    assert str(report).endswith(", inflated from 2D")
    assert report.to_dict()["inflated"] is True
    # the statistics are those of the images that the 2D network knows
    assert backbone.mean == create_backbone("resnet18", weights=None).mean


def test_filters_are_repeated_and_divided_by_the_depth() -> None:
    rng = np.random.default_rng(0)
    filters, bias = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4)
    tensors = {"conv": torch.tensor(filters), "bias": torch.tensor(bias), "other": torch.ones(2, 3)}
    network = {"conv": torch.empty(4, 2, 5, 3, 3), "bias": torch.empty(4)}
    result = inflated(tensors, network)
    np.testing.assert_allclose(result["conv"], np.stack([filters / 5] * 5, axis=2))
    assert torch.equal(result["bias"], tensors["bias"])
    assert torch.equal(result["other"], tensors["other"])


@pytest.mark.parametrize(
    ("dimensions", "expected"), [((1, 4), True), ((1, 5), False), ((4, 5), False), ((1, 2), False)]
)
def test_what_is_planar(dimensions: tuple[int, ...], expected: bool) -> None:
    assert is_planar(torch.ones((1,) * n) for n in dimensions) is expected


def test_a_2d_file_of_another_depth(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.pth"
    with torch.device("meta"):
        shapes = timm.create_model("resnet34").state_dict()
    torch.save({k: torch.ones(1).expand(v.shape) for k, v in shapes.items() if v.dim()}, path)
    text = r"unknown \(layer1\.2\.conv1\.weight.*Only a head may differ\.$"
    with pytest.raises(WeightsError, match=text), torch.device("meta"):
        create_backbone("resnet3d_18", path)


NOTHING = (
    "backbone.weights: no 2D network has the shape of {}, so there are no 2D weights to inflate "
    "for it, only for resnext3d_50 (resnext50_32x4d), resnext3d_101 (resnext101_32x4d), "
    "resnet3d_18 (resnet18), resnet3d_34 (resnet34), resnet3d_50 (resnet50), densenet3d_121 "
    "(densenet121). Give backbone.weights=FILE with 3D weights, or null."
)


@pytest.mark.parametrize("name", ["penet", "resnet3d_10", "resnet3d_18a"])
def test_a_network_that_no_2d_network_resembles(name: str, tmp_path: Path) -> None:
    path = tmp_path / "planar.pth"
    torch.save({"conv1.weight": torch.ones(1).expand(64, 3, 7, 7)}, path)
    for given in ("imagenet", path):
        with pytest.raises(WeightsError) as caught, torch.device("meta"):
            create_backbone(name, given)
        assert str(caught.value) == NOTHING.format(name)


def test_imagenet_finds_the_2d_networks_weights(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(source("resnet18"), tmp_path)
    asked: list[str] = []

    def from_hub(name: str, ways_out: Sequence[str]) -> Path:
        assert ways_out == ("tf_efficientnet_lite0",)
        asked.append(name)
        return path

    monkeypatch.setattr(hub, "from_hub", from_hub)
    backbone = create_backbone("resnet3d_18", "imagenet")
    assert asked == ["resnet18"]
    assert backbone.weights_report is not None
    assert backbone.weights_report.inflated


def test_imagenet_offline_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(WeightsError, match=r"^no ImageNet weights for resnext50_32x4d: not in"):
        create_backbone("resnext3d_50", "imagenet")


def grey_response(name: str, path: Path, in_channels: int, x: Tensor) -> Tensor:
    backbone = create_backbone(name, path, in_channels, needed="block1").truncated("block1").eval()
    assert backbone.in_channels == in_channels
    with torch.no_grad():
        response: Tensor = backbone(x.expand(-1, in_channels, -1, -1, -1))
    return response


@pytest.mark.slow
def test_a_grey_volume_gives_the_same_whatever_the_channels(source: Source, tmp_path: Path) -> None:
    x = torch.rand(1, 1, 8, 32, 32)
    planar = saved(source("resnet18"), tmp_path)
    expected = grey_response("resnet3d_18", planar, 3, x)
    for channels in (1, 6):
        response = grey_response("resnet3d_18", planar, channels, x)
        torch.testing.assert_close(response, expected, rtol=1e-4, atol=1e-5)
