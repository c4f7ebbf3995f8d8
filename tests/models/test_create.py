from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from ttl_lightning.errors import ConfigError, UnknownCutoffError, UnknownNameError, WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.create import create_model, list_strategies

NAME = "test_resnet"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "source.pth"
    torch.manual_seed(3)
    torch.save(timm.create_model(NAME).state_dict(), path)
    return path


@pytest.fixture
def run(tmp_path: Path, weights: Path) -> Path:
    """The folder of a `ttl` run that was cut after block 2, with another head."""
    kept = create_backbone(NAME, weights).truncated("block2").state_dict()
    state = {f"model.backbone.{key}": value for key, value in kept.items()}
    state |= {"model.head.fc.weight": torch.ones(14, 48), "model.head.fc.bias": torch.ones(14)}
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": state, "epoch": 2}, folder / "checkpoints" / "best.ckpt")
    return folder


def test_the_list() -> None:
    assert list_strategies() == ["ftl", "ffe", "lwft", "tf", "ttl"]


def test_an_unknown_strategy() -> None:
    with pytest.raises(UnknownNameError) as caught:
        create_model(NAME, "tll", "block1", weights=None)
    assert str(caught.value) == (
        "unknown strategy 'tll'; did you mean 'ttl'? Allowed: ftl, ffe, lwft, tf, ttl."
    )


@pytest.mark.parametrize("strategy", ["lwft", "tf", "ttl"])
@pytest.mark.parametrize("cutoff", ["block9", 6, 0, -1])
def test_an_unknown_cutoff(strategy: str, cutoff: str | int) -> None:
    with pytest.raises(UnknownCutoffError) as caught:
        create_model(NAME, strategy, cutoff, weights=None)
    text = str(caught.value)
    assert text.startswith(f"unknown cutoff of {NAME} {cutoff!r}")
    assert text.endswith("Or an integer from 1 to 5.")


def test_cutoff_missing_or_in_vain_is_found_before_the_backbone_is_built() -> None:
    with pytest.raises(ConfigError, match="strategy=ttl needs a cutoff"):
        create_model("no_such_network", "ttl", weights=None)
    with pytest.raises(ConfigError, match="strategy=ftl takes no cutoff, got cutoff='block1'"):
        create_model("no_such_network", "ftl", "block1", weights=None)


@pytest.mark.parametrize("given", [0, -2, 1.5, "2"])
def test_a_number_of_classes_that_is_none(given: object) -> None:
    text = rf"^num_classes must be an integer of at least 1, got {given!r}\.$"
    with pytest.raises(ConfigError, match=text):
        create_model(NAME, "ftl", num_classes=given, weights=None)  # type: ignore[arg-type]


@pytest.mark.slow
def test_images_that_are_too_small() -> None:
    with pytest.raises(ConfigError) as caught:
        create_model("densenet121", "ttl", "block4", image_size=16, weights=None)
    assert str(caught.value) == (
        "images of 16x16 pixels are too small for densenet121 up to block4.16; the smallest "
        "data.image_size that fits is 29."
    )
    assert create_model("densenet121", "ttl", "block2", image_size=16, weights=None)


def test_shape_of_the_input_and_of_the_output() -> None:
    model = create_model(
        NAME,
        "ttl",
        "block2",
        num_classes=5,
        in_channels=1,
        image_size=(32, 64),
        pooling=False,
        weights=None,
    )
    assert model(torch.rand(2, 1, 32, 64)).shape == (2, 5)
    assert model.head.fc.in_features == 48 * 4 * 8


@pytest.mark.parametrize(
    ("strategy", "cutoff", "needed"),
    [("ftl", None, "full"), ("lwft", "block2", "full"), ("tf", 2, 2), ("ttl", "block2", "block2")],
)
def test_weights_arrive_and_are_reported(
    strategy: str, cutoff: str | int | None, needed: str | int, weights: Path
) -> None:
    theirs = torch.load(weights, weights_only=True)
    model = create_model(NAME, strategy, cutoff, weights=weights, image_size=32)
    expected = create_backbone(NAME, weights=None).truncated(needed).state_dict()
    ours = model.backbone.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in expected)
    report = model.backbone.weights_report
    assert report is not None
    assert report.matched == report.total == len(expected)


def backbone_tensors(run: Path) -> dict[str, Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    prefix = "model.backbone."
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@pytest.mark.parametrize("strategy", ["ttl", "tf"])
@pytest.mark.parametrize("cutoff", ["stem", "block1", "block2"])
def test_a_truncated_run_is_a_source_for_what_it_holds(
    strategy: str, cutoff: str, run: Path
) -> None:
    model = create_model(NAME, strategy, cutoff, weights=run, image_size=32, num_classes=2)
    theirs, ours = backbone_tensors(run), model.backbone.state_dict()
    kept = create_backbone(NAME, weights=None).truncated(cutoff).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in kept)


@pytest.mark.parametrize(
    ("strategy", "cutoff"), [("ttl", "block3"), ("tf", 4), ("lwft", "block1"), ("ftl", None)]
)
def test_a_truncated_run_is_no_source_for_more(
    strategy: str, cutoff: str | int | None, run: Path
) -> None:
    with pytest.raises(WeightsError, match=r"missing \(layer3\.0\.conv1\.weight.*Only a head may"):
        create_model(NAME, strategy, cutoff, weights=run)


def test_a_transfusion_run_is_a_source_up_to_its_cutoff(tmp_path: Path, weights: Path) -> None:
    slim = create_model(NAME, "tf", "block2", weights=weights, image_size=32)
    path = tmp_path / "tf.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in slim.state_dict().items()}}, path)
    model = create_model(NAME, "ttl", "block2", weights=path, image_size=32)
    theirs = slim.backbone.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in model.backbone.state_dict().items())
    with pytest.raises(WeightsError, match="of another shape"):
        create_model(NAME, "ftl", weights=path)
