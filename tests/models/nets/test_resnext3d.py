from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.nets.resnext3d import ResNeXt3D, ResNeXtBottleneck

LAYERS = {"resnext3d_50": (3, 4, 6, 3), "resnext3d_101": (3, 4, 23, 3)}
Shapes = dict[str, tuple[int, ...]]


def norm(path: str, width: int) -> Shapes:
    return {f"{path}.{key}": (width,) for key in ("weight", "bias", "running_mean", "running_var")}


def published(layers: tuple[int, ...], stem: int = 64) -> Shapes:
    """Names and shapes of the tensors of the checkpoints for Kinetics, by rule."""
    shapes = {"conv1.weight": (stem, 3, 7, 7, 7), **norm("bn1", stem)}
    width = stem
    for n, count in enumerate(layers, start=1):
        planes = 64 * 2**n
        for k in range(count):
            at = f"layer{n}.{k}"
            shapes |= {
                f"{at}.conv1.weight": (planes, width, 1, 1, 1),
                **norm(f"{at}.bn1", planes),
                f"{at}.conv2.weight": (planes, planes // 32, 3, 3, 3),
                **norm(f"{at}.bn2", planes),
                f"{at}.conv3.weight": (2 * planes, planes, 1, 1, 1),
                **norm(f"{at}.bn3", 2 * planes),
            }
            if k == 0:
                shapes[f"{at}.downsample.0.weight"] = (2 * planes, width, 1, 1, 1)
                shapes |= norm(f"{at}.downsample.1", 2 * planes)
            width = 2 * planes
    return {**shapes, "fc.weight": (400, width), "fc.bias": (400,)}


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors that differ from each other, and take no room in a file: each is one number."""
    return {
        key: torch.full((1,), 0.5 + k / len(shapes)).expand(shape)
        for k, (key, shape) in enumerate(shapes.items())
    }


def checkpoint(path: Path, tensors: dict[str, Tensor]) -> Path:
    """Saved as the 3D-ResNets project saves."""
    torch.save(
        {
            "epoch": 200,
            "arch": "resnext-101",
            "state_dict": {f"module.{key}": value for key, value in tensors.items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        },
        path,
    )
    return path


@pytest.mark.parametrize("name", LAYERS)
def test_names_and_shapes_are_those_published(name: str) -> None:
    with torch.device("meta"):
        state = ResNeXt3D(LAYERS[name]).state_dict()
    ours = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert ours == published(LAYERS[name])


def test_the_papers_candidates_and_parameters() -> None:
    with torch.device("meta"):
        backbone = create_backbone("resnext3d_101", weights=None)
    assert len(backbone.cutoffs) == 34
    assert [backbone.index(block) for block in backbone.blocks] == [4, 8, 31, 34]
    millions = {
        cutoff: sum(p.numel() for p in backbone.truncated(cutoff).parameters()) / 1e6
        for cutoff in ("stem", *backbone.blocks)
    }
    # measured for the paper's network with a head of one class, which is left out here
    heads = {"stem": 65, "block1": 257, "block2": 513, "block3": 1025, "block4": 2049}
    expected = {
        "stem": 0.0660,
        "block1": 0.2997,
        "block2": 1.6445,
        "block3": 31.2079,
        "block4": 47.5233,
    }
    for cutoff, value in expected.items():
        assert millions[cutoff] + heads[cutoff] / 1e6 == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize(
    ("cutoff", "shape"),
    [
        ("stem", (64, 12, 48, 48)),
        ("block1", (256, 12, 48, 48)),
        ("block2", (512, 6, 24, 24)),
        ("block3", (1024, 3, 12, 12)),
        ("block4", (2048, 2, 6, 6)),
    ],
)
def test_maps_of_24_slices_of_192(cutoff: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = create_backbone("resnext3d_50", weights=None)
    assert backbone.truncated(cutoff).output_shape((24, 192, 192)) == shape


def test_a_checkpoint_of_kinetics_fills_every_tensor(tmp_path: Path) -> None:
    tensors = filled(published(LAYERS["resnext3d_101"]))
    path = checkpoint(tmp_path / "resnext-101-kinetics.pth", tensors)
    assert len(tensors) == 522
    backbone = create_backbone("resnext3d_101", path)
    state = backbone.state_dict()
    matched = [key for key in state if key in tensors]
    assert len(matched) == 520
    assert all(torch.equal(state[key], tensors[key]) for key in matched)
    assert {key.rpartition(".")[2] for key in state.keys() - {*matched}} == {"num_batches_tracked"}
    report = backbone.weights_report
    assert report is not None
    assert (report.matched, report.inflated) == (520, False)
    assert backbone.pretrained_units == backbone.units
    assert backbone.mean == pytest.approx((114.775 / 255, 107.735 / 255, 99.475 / 255))
    assert backbone.std == pytest.approx((1 / 255,) * 3)


WRONG = {
    "a stem of 128 channels": (published(LAYERS["resnext3d_50"], stem=128), "of another shape"),
    "other depth": (published(LAYERS["resnext3d_101"]), "unknown (layer3.6.conv1.weight"),
    "half the depth": (published((3, 4, 3, 3)), "missing (layer3.3.conv1.weight"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_checkpoint_that_does_not_fit_lists_what_differs(kind: str, tmp_path: Path) -> None:
    shapes, problem = WRONG[kind]
    path = checkpoint(tmp_path / "kinetics.pth", filled(shapes))
    with pytest.raises(WeightsError) as caught, torch.device("meta"):
        create_backbone("resnext3d_50", path)
    text = str(caught.value)
    assert text.startswith(f"weights {path} fit only ")
    assert problem in text
    assert text.endswith(". Only a head may differ.")
    assert "\n" not in text


def test_a_stem_of_128_channels_names_the_tensors_of_the_stem(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "kinetics.pth", filled(published(LAYERS["resnext3d_50"], 128)))
    text = "7 of another shape (conv1.weight, bn1.weight, bn1.bias, …)"
    with pytest.raises(WeightsError) as caught, torch.device("meta"):
        create_backbone("resnext3d_50", path, needed="block1")
    assert text in str(caught.value)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "kinetics.pth", filled(published(LAYERS["resnext3d_50"])))
    path.write_bytes(path.read_bytes()[:-500])
    text = r"kinetics\.pth cannot be read as plain tensors: "
    with pytest.raises(WeightsError, match=text), torch.device("meta"):
        create_backbone("resnext3d_50", path)


def test_logits_are_the_heads_of_the_mean_of_the_map() -> None:
    net = ResNeXt3D((1, 1, 1, 1), in_channels=2).eval()
    x = torch.rand(2, 2, 8, 32, 32)
    seen = list[Tensor]()
    net.layer4.register_forward_hook(lambda *given: seen.append(given[2].clone()))
    with torch.no_grad():
        logits = net(x)
        expected = seen[0].mean((2, 3, 4)) @ net.fc.weight.T + net.fc.bias
    torch.testing.assert_close(logits, expected)


def test_a_bottleneck_against_its_definition() -> None:
    block = ResNeXtBottleneck(64, 32, stride=2, downsample=nn.Conv3d(64, 64, 1, stride=2)).eval()
    x = torch.randn(2, 64, 5, 6, 7)
    state = block.state_dict()
    scale = math.sqrt(1 / (1 + 1e-5))  # of a norm that has seen nothing yet
    with torch.no_grad():
        out = (nn.functional.conv3d(x, state["conv1.weight"]) * scale).relu()
        # 32 channels in 32 groups: each is filtered alone
        alone = [
            nn.functional.conv3d(out[:, k : k + 1], state["conv2.weight"][k : k + 1], None, 2, 1)
            for k in range(32)
        ]
        out = (torch.cat(alone, 1) * scale).relu()
        out = nn.functional.conv3d(out, state["conv3.weight"]) * scale
        expected = (out + block.downsample(x)).relu()  # type: ignore[misc]
        torch.testing.assert_close(block(x), expected)
