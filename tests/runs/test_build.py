"""What a run is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.config import compose as config
from ttl_lightning.data.module import DataModule
from ttl_lightning.errors import ConfigError
from ttl_lightning.runs.build import create_data
from ttl_lightning.runs.parts import optimizer_of

OWN = """
from dataclasses import dataclass
from ttl_lightning.data.sources.phantom import PhantomSource

@dataclass(frozen=True, kw_only=True)
class Mine(PhantomSource):
    word: str

def module(**options):
    return options
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "of_my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "of_my_own"
    sys.modules.pop("of_my_own", None)


def composed(*overrides: str):
    return config.read(["backbone=test_resnet", "backbone.weights=null", *overrides])[0]


def test_a_source_of_ones_own_is_as_good_as_the_packages(own: str) -> None:
    cfg = composed(
        f"data._target_={own}.Mine", "+data.word=yes", "data.image_size=32", "data.tta=2", "seed=5"
    )
    data = create_data(config.typed(cfg).recipe)
    assert isinstance(data, DataModule)
    assert (data.source.word, data.source.seed, data.view.side) == ("yes", 5, 32)
    cfg = composed(f"data._target_={own}.Mine", "+data.wrod=yes")
    with pytest.raises(ConfigError, match=r"unknown key 'data\.wrod': Mine takes no such argument"):
        create_data(config.typed(cfg).recipe)


def test_a_module_of_ones_own_takes_what_it_names(own: str) -> None:
    made = create_data(config.typed(composed(f"data._target_={own}.module", "seed=5")).recipe)
    assert (made["seed"], made["train_size"], len(made["mean"])) == (5, 1200, 3)


@pytest.mark.parametrize(
    ("overrides", "fused"),
    [
        ((), True),
        (("protocol=2d",), True),
        (("protocol.optimizer._target_=torch.optim.SGD",), True),
        (("protocol.optimizer._target_=torch.optim.RMSprop",), None),
        (("+protocol.optimizer.fused=false",), False),
        (("+protocol.optimizer.foreach=true",), None),
        (("trainer.precision=16-mixed",), True),
        (("trainer.precision=16-mixed", "trainer.gradient_clip_val=1"), None),
        (("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"), None),
        (("trainer.precision=auto", "trainer.gradient_clip_val=1"), None),
        (("trainer.gradient_clip_val=1",), True),
    ],
)
def test_an_optimizer_is_fused_where_it_can_be(overrides, fused) -> None:
    make = optimizer_of(config.typed(composed(*overrides)))
    weight = torch.nn.Parameter(torch.ones(3))
    (group,) = make([{"params": [weight], "lr": 0.1}]).param_groups
    assert group.get("fused") == fused
    assert group["lr"] == 0.1


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_fused_and_plain_steps_are_the_same(name) -> None:
    weights = []
    for fused in ("true", "false"):
        cfg = composed(f"protocol.optimizer._target_=torch.optim.{name}",
                       f"+protocol.optimizer.fused={fused}")  # fmt: skip
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 50, dtype=torch.float64))
        optimizer = optimizer_of(config.typed(cfg))([{"params": [weight], "lr": 0.1}])
        for _ in range(5):
            optimizer.zero_grad()
            (weight**4).sum().backward()
            optimizer.step()
        weights.append(weight.detach())
    torch.testing.assert_close(*weights)


def test_mixed_precision_trains_with_clipped_gradients(tmp_path: Path) -> None:
    settings = [*SMALL, "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"]
    result = ttl.train(overrides=settings, run_dir=tmp_path / "run")
    assert (result.status, result.train["precision"]) == ("completed", "bf16-mixed")
