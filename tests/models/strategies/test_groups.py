"""Which learning rate each parameter gets, by what its unit holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError
from ttl_lightning.models.strategies.base import TransferModel

NAME = "test_resnet"
LR, FACTOR = 0.1, 0.1


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(ttl.create_backbone(NAME, weights=None).state_dict(), path)
    return path


def rates(model: TransferModel, factor: float = FACTOR) -> dict[str, float]:
    """The rate of each trained parameter, by its name."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = model.param_groups(LR, factor)
    found = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups), "a parameter in two groups"
    assert set(found) == {n for n, p in model.named_parameters() if p.requires_grad}
    return found


@pytest.mark.parametrize(
    ("strategy", "cutoff"), [("ftl", None), ("ffe", None), ("lwft", "block1"), ("ttl", "block2")]
)
def test_pretrained_units_learn_slower(weights: Path, strategy: str, cutoff: str | None) -> None:
    model = ttl.create_model(NAME, strategy, cutoff, weights=weights, image_size=32)
    for name, rate in rates(model).items():
        assert rate == pytest.approx(LR if name.startswith("head.") else LR * FACTOR), name


def test_what_transfusion_draws_anew_learns_at_the_full_rate(weights: Path) -> None:
    model = ttl.create_model(NAME, "tf", "block2", weights=weights, image_size=32)
    kept = {
        n
        for n, _ in ttl.create_model(
            NAME, "ttl", "block2", image_size=32, weights=None
        ).named_parameters()
    }
    for name, rate in rates(model).items():
        pretrained = name in kept and not name.startswith("head.")
        assert rate == pytest.approx(LR * FACTOR if pretrained else LR), name


@pytest.mark.parametrize("strategy", ["ftl", "tf", "ttl"])
def test_from_scratch_there_is_one_rate(strategy: str) -> None:
    cutoff = None if strategy == "ftl" else "block2"
    model = ttl.create_model(NAME, strategy, cutoff, image_size=32, weights=None)
    assert set(rates(model).values()) == {LR}


def test_layer_wise_finetunings_own_tenth_is_not_taken_twice(weights: Path) -> None:
    model = ttl.create_model(NAME, "lwft", "block1", weights=weights, image_size=32)
    for factor, expected in ((1.0, 0.1), (0.5, 0.1), (0.01, 0.01)):
        tuned = {r for n, r in rates(model, factor).items() if not n.startswith("head.")}
        assert list(tuned) == [pytest.approx(LR * expected)]


@pytest.mark.parametrize("factor", [0, -1.0, float("nan"), "0.1"])
def test_a_factor_that_is_none(factor: object) -> None:
    model = ttl.create_model(NAME, "ftl", image_size=32, weights=None)
    with pytest.raises(
        ConfigError, match=r"^protocol\.pretrained_lr_factor must be a number of at"
    ):
        model.param_groups(LR, factor)  # type: ignore[arg-type]
