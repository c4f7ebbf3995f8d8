from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from ttl_lightning.data.image_module import CommonOptions, ImageDataModule
from ttl_lightning.data.module import ClassificationDataModule, SharedOptions
from ttl_lightning.data.phantoms.images import generate
from ttl_lightning.data.sources.npz3d import ArrayVolumeDataModule, ArrayVolumeOptions
from ttl_lightning.data.sources.phantom import PhantomDataModule
from ttl_lightning.data.sources.phantom3d import Phantom3dDataModule
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.volume_module import VolumeDataModule, VolumeOptions
from ttl_lightning.errors import UnknownNameError

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
    if path.stem in ("npz3d", "medmnist3d"):  # its layout does not say which slices are abnormal
        given |= {"min_abnormal_slices", "abnormal_fraction"}
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
        (ArrayVolumeDataModule, ArrayVolumeOptions),
        (ClassificationDataModule, SharedOptions),
    ],
)
def test_typed_options_are_those_of_the_bases(kind: type, typed: type) -> None:
    own = set(options_of(kind)) - {"name", "on_duplicate"}
    if kind is ArrayVolumeDataModule:  # of its base, and of no use to it
        own -= {"min_abnormal_slices", "abnormal_fraction"}
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


def test_training_images_can_be_had_as_evaluation_sees_them() -> None:
    data = PhantomDataModule(
        train_size=7, val_size=4, test_size=4, image_size=16, batch_size=4, eval_view="center_crop"
    )
    data.setup()
    batches = list(data.plain_dataloader("train"))
    assert torch.cat([batch["id"] for batch in batches]).tolist() == list(range(7))
    assert (
        torch.cat([batch["label"] for batch in batches]).tolist() == data.labels("train").tolist()
    )
    size = data.augment.stored_size(16)
    stored = generate(7, size, data.level, data.difficulty, data.seed).images
    start = (size - 16) // 2
    grey = (stored[:, None, start : start + 16, start : start + 16] / 255 - 0.5) / 0.5
    images = torch.cat([batch["image"] for batch in batches])
    torch.testing.assert_close(images[:, :1].double(), torch.from_numpy(grey))
    with pytest.raises(UnknownNameError, match="split"):
        data.plain_dataloader("training")
