from __future__ import annotations

import pytest
import torch

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.models.strategies.base import Head


@pytest.mark.parametrize("name", ["lwft", "tf", "ttl"])
def test_a_missing_cutoff(name: str) -> None:
    STRATEGIES[name].check_cutoff("block1")
    STRATEGIES[name].check_cutoff(1)
    text = f"^strategy={name} needs a cutoff: give cutoff=block3, for instance\\.$"
    with pytest.raises(ConfigError, match=text):
        STRATEGIES[name].check_cutoff(None)


@pytest.mark.parametrize("name", ["ftl", "ffe"])
@pytest.mark.parametrize("cutoff", ["block1", 3, "full"])
def test_a_cutoff_given_in_vain(name: str, cutoff: str | int) -> None:
    STRATEGIES[name].check_cutoff(None)
    text = f"^strategy={name} takes no cutoff, got cutoff={cutoff!r}: leave it out\\.$"
    with pytest.raises(ConfigError, match=text):
        STRATEGIES[name].check_cutoff(cutoff)


def test_the_table_of_the_design() -> None:
    plans = {
        name: (plan.needs_cutoff, plan.keeps_rest, plan.tuned_lr_factor)
        for name, plan in STRATEGIES.items()
    }
    assert plans == {
        "ftl": (False, True, 1.0),
        "ffe": (False, True, 1.0),
        "lwft": (True, True, 0.1),
        "tf": (True, False, 1.0),
        "ttl": (True, False, 1.0),
    }
    assert all(name == plan.name and plan.summary for name, plan in STRATEGIES.items())


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 2, 4, 3)])
def test_heads_in_two_and_three_dimensions(shape: tuple[int, ...]) -> None:
    x = torch.rand(2, *shape)
    pooled, flat = Head(shape, 3, pooling=True), Head(shape, 3, pooling=False)
    assert (pooled.fc.in_features, flat.fc.in_features) == (5, x[0].numel())
    mean = torch.nn.functional.adaptive_avg_pool3d(x.reshape(2, 5, -1, 1, 1), 1).reshape(2, 5)
    torch.testing.assert_close(pooled(x), pooled.fc(mean))
    assert torch.equal(flat(x), flat.fc(x.reshape(2, -1)))


@pytest.mark.parametrize("lr", [0, -1e-4, float("nan"), "1e-4", None])
def test_a_learning_rate_that_is_none(lr: object) -> None:
    model = create_model("test_resnet", "ftl", image_size=32, weights=None)
    with pytest.raises(ConfigError, match=r"^protocol\.learning_rate must be a number of at least"):
        model.param_groups(lr)  # type: ignore[arg-type]


def test_an_optimizer_takes_the_groups() -> None:
    model = create_model("test_resnet", "lwft", "block2", image_size=32, weights=None)
    optimizer = torch.optim.Adam(model.param_groups(1e-4))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-4, 1e-5])


def test_a_split_leaves_the_pretrained_backbone_for_the_next() -> None:
    backbone = create_backbone("test_resnet", weights=None)
    for plan in STRATEGIES.values():
        plan.split(backbone, backbone.resolve("block2" if plan.needs_cutoff else "full"))
    assert backbone.cutoffs[-1] == "block4.1"
    assert not backbone.frozen_units
    assert all(p.requires_grad for p in backbone.parameters())


def test_the_head_keeps_its_digits_under_autocast() -> None:
    head = Head((8, 2, 2), 2, pooling=True)
    x = torch.randn(64, 8, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(x.bfloat16())
    assert logits.dtype == torch.float32
    assert torch.equal(logits, head.fc(x.bfloat16().float().flatten(2).mean(2)))
