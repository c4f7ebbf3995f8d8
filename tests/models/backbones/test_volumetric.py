from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from monai.networks.nets import DenseNet121, resnet
from torch import Tensor, nn

from ttl_lightning.errors import UnknownNameError, WeightsError
from ttl_lightning.models.backbones import checkpoints as weights
from ttl_lightning.models.backbones.factory import create_backbone, list_backbones, pixel_statistics
from ttl_lightning.models.backbones.pretrained import record_of
from ttl_lightning.models.backbones.volumetric import VOLUMETRIC, PaddedShortcut
from ttl_lightning.records.schema import RunResult

Source = Callable[[str], nn.Module]

MONAI = {"resnet3d_10": 10, "resnet3d_18": 18, "resnet3d_34": 34, "resnet3d_50": 50}


def monai_resnet(depth: int, in_channels: int, shortcut: str = "B") -> nn.Module:
    """As MONAI makes it for MedicalNet's weights."""
    make = getattr(resnet, f"resnet{depth}")
    net: nn.Module = make(
        spatial_dims=3,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
        shortcut_type=shortcut,
        bias_downsample=False,
    )
    return net


@pytest.mark.parametrize("name", VOLUMETRIC)
def test_every_network_is_listed_and_makes_a_backbone_of_volumes(name: str) -> None:
    assert name in list_backbones()
    with torch.device("meta"):
        backbone = create_backbone(name, in_channels=1, weights=None)
    assert backbone.spatial_dims == 3
    assert backbone.truncated("stem").spatial_dims == 3
    assert backbone.cutoffs[:2] == ("stem", "block1.1")
    assert backbone.blocks == ("block1", "block2", "block3", "block4")
    conv = backbone.net.get_submodule(VOLUMETRIC[name].first_conv)
    assert isinstance(conv, nn.Conv3d)
    assert conv.in_channels == 1


def test_an_unknown_3d_network_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnext3d_101'"):
        create_backbone("resnext3d101", weights=None)


@pytest.mark.parametrize("name", MONAI)
def test_what_is_trained_here_loads_in_monai(name: str) -> None:
    with torch.device("meta"):
        ours = create_backbone(name, weights=None).state_dict()
        theirs = monai_resnet(MONAI[name], 3).state_dict()
    assert [*ours] == [*theirs]
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]


@pytest.mark.parametrize(("name", "depth"), [("resnet3d_18a", 18), ("resnet3d_34a", 34)])
def test_networks_without_projections_have_monais_keys(name: str, depth: int) -> None:
    with torch.device("meta"):
        ours = create_backbone(name, weights=None).state_dict()
        theirs = monai_resnet(depth, 3, "A").state_dict()
    assert [*ours] == [*theirs]


def test_the_shortcut_without_weights_is_monais() -> None:
    torch.manual_seed(2)
    theirs = monai_resnet(18, 1, "A").eval()
    backbone = create_backbone("resnet3d_18a", in_channels=1, weights=None).eval()
    backbone.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 1, 9, 31, 33)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(backbone(x).mean((2, 3, 4)), expected)


def test_the_gradient_passes_the_shortcut() -> None:
    x = torch.rand(1, 2, 5, 4, 3, requires_grad=True)
    out = PaddedShortcut(6, stride=2)(x)
    assert out.shape == (1, 6, 3, 2, 2)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2, ::2])
    assert not out[:, 2:].any()
    (gradient,) = torch.autograd.grad(out.sum(), x)
    expected = torch.zeros_like(x)
    expected[:, :, ::2, ::2, ::2] = 1
    assert torch.equal(gradient, expected)


def test_a_copy_of_a_unit_does_not_drag_the_network_along() -> None:
    with torch.device("meta"):
        net = VOLUMETRIC["resnet3d_18a"].make(1)
    block = net.get_submodule("layer2.0")
    twin = copy.deepcopy(block)
    reached = {id(m) for m in net.modules()}
    assert isinstance(twin.downsample, PaddedShortcut)
    assert not any(id(module) in reached for module in twin.modules())
    assert not any(callable(value) for value in vars(twin.downsample).values())


def test_logits_of_monais_densenet_follow_from_the_map(source: Source) -> None:
    theirs = source("densenet3d_121")
    assert isinstance(theirs, DenseNet121)
    backbone = create_backbone("densenet3d_121", weights=None).eval()
    backbone.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.startswith("class_layers.out")}
    )
    x = torch.rand(1, 3, 32, 32, 32)
    with torch.no_grad():
        pooled = backbone(x).mean((2, 3, 4))
        torch.testing.assert_close(theirs.class_layers.out(pooled), theirs(x))


# --- MedicalNet -----------------------------------------------------------------------------------


def medicalnet(depth: int, path: Path, shortcut: str = "B") -> dict[str, Tensor]:
    """A checkpoint as MedicalNet publishes them: one input channel, with its segmentation head."""
    with torch.device("meta"):
        shapes = monai_resnet(depth, 1, shortcut).state_dict()
    tensors = {
        key: torch.randn(value.shape) if key == "conv1.weight" else one_number(value, k)
        for k, (key, value) in enumerate(shapes.items())
        if not key.endswith("num_batches_tracked")
    }
    head = {"conv_seg.0.weight": torch.ones(1), "conv_seg.0.bias": torch.ones(1)}
    content = {f"module.{key}": value for key, value in {**tensors, **head}.items()}
    torch.save({"state_dict": content}, path)
    return tensors


def one_number(like: Tensor, k: int) -> Tensor:
    """A tensor that takes no room in a file."""
    return torch.full((1,), 0.5 + k / 300).expand(like.shape)


@pytest.mark.parametrize(
    ("name", "depth", "shortcut", "tensors"),
    [("resnet3d_10", 10, "B", 60), ("resnet3d_18a", 18, "A", 85)],
)
def test_a_checkpoint_of_medicalnet_fills_every_tensor(
    name: str, depth: int, shortcut: str, tensors: int, tmp_path: Path
) -> None:
    path = tmp_path / f"resnet_{depth}_23dataset.pth"
    given = medicalnet(depth, path, shortcut)
    backbone = create_backbone(name, path, in_channels=1)
    state = backbone.state_dict()
    assert len(given) == tensors
    assert all(torch.equal(state[key], value) for key, value in given.items())
    report = backbone.weights_report
    assert report is not None
    assert (report.matched, report.inflated) == (tensors, False)
    assert backbone.mean == (0.5,)
    assert backbone.std == pytest.approx((12**-0.5,))


@pytest.mark.parametrize(
    ("name", "depth", "shortcut", "tensors"),
    [("resnet3d_34a", 34, "A", 165), ("resnet3d_50", 50, "B", 265)],
)
def test_larger_checkpoints_of_medicalnet_fit(
    name: str, depth: int, shortcut: str, tensors: int, tmp_path: Path
) -> None:
    path = tmp_path / f"resnet_{depth}.pth"
    medicalnet(depth, path, shortcut)
    with torch.device("meta"):
        state = create_backbone(name, in_channels=1, weights=None).state_dict()
    filled = weights.matched(weights.read(path), state, (), str(path), "conv1")
    assert len(filled) == tensors


def test_three_channels_share_medicalnets_one(tmp_path: Path) -> None:
    path = tmp_path / "resnet_10.pth"
    medicalnet(10, path)
    grey = create_backbone("resnet3d_10", path, in_channels=1).truncated("stem").eval()
    colour = create_backbone("resnet3d_10", path, in_channels=3).truncated("stem").eval()
    x = torch.rand(1, 1, 8, 16, 16)
    with torch.no_grad():
        response = colour(x.expand(-1, 3, -1, -1, -1))
        torch.testing.assert_close(response, grey(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 34])
def test_medicalnets_18_and_34_point_to_the_network_that_they_fit(
    depth: int, tmp_path: Path
) -> None:
    path = tmp_path / f"resnet_{depth}.pth"
    medicalnet(depth, path, "A")
    with pytest.raises(WeightsError) as caught, torch.device("meta"):
        create_backbone(f"resnet3d_{depth}", path, in_channels=1)
    text = str(caught.value)
    assert "15 missing (layer2.0.downsample.0.weight, " in text
    assert text.endswith(
        "Only a head may differ. MedicalNet's have no weights of shortcuts: they fit "
        f"backbone=resnet3d_{depth}a."
    )


@pytest.mark.parametrize(
    ("depth", "problem"),
    [(18, "unknown (layer1.1.conv1.weight"), (50, "of another shape (layer1.0.conv1.weight")],
)
def test_a_checkpoint_of_another_depth(depth: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    medicalnet(depth, path)
    with pytest.raises(WeightsError) as caught, torch.device("meta"):
        create_backbone("resnet3d_10", path, in_channels=1)
    assert problem in str(caught.value)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "resnet_10.pth"
    medicalnet(10, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = r"resnet_10\.pth cannot be read as plain tensors: "
    with pytest.raises(WeightsError, match=text), torch.device("meta"):
        create_backbone("resnet3d_10", path, in_channels=1)


# --- a run's folder and the statistics of the voxels ----------------------------------------------


def run_folder(
    folder: Path,
    tensors: dict[str, Tensor],
    mean: list[float] | None,
    backbone: str = "resnet3d_10",
) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"model.backbone.{key}": value for key, value in tensors.items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    result = RunResult("run", "phantom3d", backbone, "ttl", "block1.1", 2, 0, status="completed")
    result.model.update({"mean": mean, "std": [0.25]} if mean else {})
    result.save(folder)
    return folder


def test_a_truncated_run_is_a_source_up_to_its_cutoff(source: Source, tmp_path: Path) -> None:
    trained = source("resnet3d_10").state_dict()
    kept = {k: v for k, v in trained.items() if k.startswith(("conv1", "bn1", "layer1"))}
    folder = run_folder(tmp_path / "run", kept, mean=[0.3])
    backbone = create_backbone("resnet3d_10", folder, needed="block1")
    state = backbone.truncated("block1").state_dict()
    assert all(torch.equal(state[key], value) for key, value in kept.items())
    assert [unit.name for unit in backbone.pretrained_units] == ["stem", "block1.1"]
    assert (backbone.mean, backbone.std) == ((0.3,) * 3, (0.25,) * 3)
    with pytest.raises(WeightsError, match=r"missing \(layer2\.0\.conv1\.weight"):
        create_backbone("resnet3d_10", folder)


IMAGENET_MEAN = (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", ["resnext3d_101", "penet", "resnet3d_10", "densenet3d_121"])
def test_statistics_without_weights_are_imagenets(name: str) -> None:
    assert pixel_statistics(name, 3) == (IMAGENET_MEAN, (0.229, 0.224, 0.225))
    mean, std = pixel_statistics(name, 1)
    assert (mean, std) == (pytest.approx((0.449,)), pytest.approx((0.226,)))


def test_statistics_of_inflated_weights_are_imagenets() -> None:
    assert pixel_statistics("resnext3d_101", 3, "imagenet")[0] == IMAGENET_MEAN


def test_statistics_of_a_run_are_its_own(tmp_path: Path) -> None:
    tensors = {"conv1.weight": torch.ones(1, 1, 1, 1, 1)}
    folder = run_folder(tmp_path / "run", tensors, mean=[0.3])
    expected = ((0.3, 0.3), (0.25, 0.25))
    assert pixel_statistics("resnet3d_10", 2, folder) == expected
    assert pixel_statistics("resnet3d_10", 2, folder / "checkpoints" / "best.ckpt") == expected
    unsaid = run_folder(tmp_path / "unsaid", tensors, mean=None)
    assert pixel_statistics("resnet3d_10", 1, unsaid)[0] == (0.5,)


def test_statistics_of_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no file .*absent\.pth"):
        pixel_statistics("penet", 3, tmp_path / "absent.pth")
    with pytest.raises(UnknownNameError, match="unknown backbone 'penett'"):
        pixel_statistics("penett", 3)


def saved(folder: Path, sidecar: object = None) -> Path:
    """A file of weights, with what timm's hub puts beside it."""
    folder.mkdir()
    torch.save({"conv1.weight": torch.ones(1, 3, 1, 1)}, folder / "weights.pth")
    if sidecar is not None:
        (folder / "config.json").write_text(json.dumps(sidecar))
    return folder / "weights.pth"


def test_a_file_that_says_nothing_of_its_pixels_is_noted(tmp_path: Path) -> None:
    record = record_of("test_resnet", str(saved(tmp_path / "a")))
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert (record.mean, record.std) == (cfg.mean, cfg.std)
    assert record.note == (
        f"The weights of {tmp_path / 'a' / 'weights.pth'} do not say what pixels they expect: "
        "those of test_resnet are taken, mean (0.5, 0.5, 0.5), std (0.5, 0.5, 0.5). A config.json "
        "in timm's layout beside the file states others."
    )


def test_a_file_with_timms_config_beside_it_says_its_own(tmp_path: Path) -> None:
    said = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3}}
    path = saved(tmp_path / "a", said)
    assert pixel_statistics("resnet18", 3, path) == ((0.1,) * 3, (0.2,) * 3)
    assert record_of("resnet18", str(path)).note is None
    with pytest.raises(WeightsError, match=r"are those of resnet18, not of resnet34: give backb"):
        create_backbone("resnet34", path)


@pytest.mark.parametrize("said", [[], {}, {"architecture": "resnet18"}, {"mean": 1, "std": "x"}])
def test_a_config_that_is_not_timms(said: object, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json must be timm's, with architecture"):
        record_of("resnet18", str(saved(tmp_path / "a", said)))


def test_a_run_s_weights_are_for_its_own_network(tmp_path: Path) -> None:
    """The tensors of the two have the same names and shapes: no match tells them apart."""
    tensors = create_backbone("efficientnet_lite0", weights=None).state_dict()
    folder = run_folder(tmp_path / "run", tensors, mean=[0.3], backbone="efficientnet_lite0")
    create_backbone("efficientnet_lite0", folder)
    with pytest.raises(WeightsError, match=r"those of efficientnet_lite0, not of tf_efficientnet"):
        create_backbone("tf_efficientnet_lite0", folder)


# --- which units hold loaded weights --------------------------------------------------------------


def test_units_that_hold_loaded_weights(source: Source, tmp_path: Path) -> None:
    assert create_backbone("test_resnet", weights=None).pretrained_units == ()
    path = tmp_path / "weights.pth"
    torch.save(source("test_resnet").state_dict(), path)
    backbone = create_backbone("test_resnet", path, needed="block2")
    names = [unit.name for unit in backbone.pretrained_units]
    assert names == ["stem", "block1.1", "block2.1"]
    assert copy.deepcopy(backbone).pretrained_units == backbone.pretrained_units
    part = backbone.truncated("block1")
    assert part.pretrained_units == part.units
    assert backbone.truncated("full").pretrained_units == backbone.pretrained_units
    assert create_backbone("test_resnet", path).pretrained_units == backbone.units


@pytest.mark.parametrize("name", ["resnet3d_18a", "densenet3d_121", "resnext3d_50", "penet"])
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    """What is computed in place must not be what the backward pass needs."""
    backbone = create_backbone(name, in_channels=1, weights=None).truncated("block2").train()
    backbone(torch.rand(2, 1, 16, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize("name", ["resnet3d_10", "penet"])
def test_the_hold_of_a_frozen_part(name: str) -> None:
    backbone = create_backbone(name, in_channels=1, weights=None).truncated("block2")
    backbone.freeze("block1")
    held = {k: v.clone() for k, v in backbone.truncated("block1").state_dict().items()}
    optimizer = torch.optim.SGD((p for p in backbone.parameters() if p.requires_grad), lr=0.1)
    backbone.train()(torch.rand(2, 1, 8, 32, 32)).square().mean().backward()
    optimizer.step()
    after = backbone.state_dict()
    assert all(torch.equal(after[key], value) for key, value in held.items())
    norms = [m for m in backbone.net.modules() if isinstance(m, nn.BatchNorm3d | nn.GroupNorm)]
    assert not norms[0].training
    assert norms[-1].training
