"""What a run is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ttl_lightning.config import compose as config
from ttl_lightning.data.module import DataModule
from ttl_lightning.errors import ConfigError
from ttl_lightning.runs.build import create_data

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
