from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ttl_lightning.data.base import CommonOptions, ImageDataModule
from ttl_lightning.data.module import ClassificationDataModule, SharedOptions
from ttl_lightning.data.phantom import PhantomDataModule
from ttl_lightning.data.phantom3d import Phantom3dDataModule
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.volume_base import VolumeDataModule, VolumeOptions

CONF = Path(__file__).parents[2] / "conf" / "data"


def options_of(kind: type) -> dict[str, inspect.Parameter]:
    """Parameters of a class and of the bases to which it hands options on."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if issubclass(base, ClassificationDataModule):
            for key, value in inspect.signature(base).parameters.items():
                if value.kind is not inspect.Parameter.VAR_KEYWORD:
                    found.setdefault(key, value)
    return found


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_name_every_option_once(path: Path) -> None:
    config = OmegaConf.load(path)
    assert config.name == path.stem
    kind = instantiate({"_target_": "hydra.utils.get_class", "path": config._target_})
    options = options_of(kind)
    given = {"seed", "augment", "mean", "std"}  # by the run, from its other groups
    assert set(config) - {"_target_"} == set(options) - given
    assert config._get_node("batch_size")._value() == "${protocol.batch_size}"
    for key in set(config) - {"_target_", "path", "batch_size"}:
        default = options[key].default
        assert config[key] == (list(default) if isinstance(default, tuple) else default), key


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (ImageDataModule, CommonOptions),
        (VolumeDataModule, VolumeOptions),
        (ClassificationDataModule, SharedOptions),
    ],
)
def test_typed_options_are_those_of_the_bases(kind: type, typed: type) -> None:
    own = set(options_of(kind)) - {"name", "on_duplicate"}
    if kind is ClassificationDataModule:
        own -= {"cache"}  # which has no default of its own
    assert set(typed.__annotations__) == own


@pytest.mark.parametrize(
    ("name", "kind"), [("phantom", PhantomDataModule), ("phantom3d", Phantom3dDataModule)]
)
def test_a_config_makes_the_module_as_a_run_does(name: str, kind: type) -> None:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    config.batch_size = 64
    make = instantiate(config, _partial_=True, _convert_="all")
    data = make(seed=3, augment=Augment(), mean=[0.5] * 3, std=[0.5] * 3)
    assert isinstance(data, kind)
    assert data.seed == 3
