"""The package's own data sources by the full names that configurations use; imported when asked."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from ttl_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ttl_lightning.data.options import ImageView, Loading
    from ttl_lightning.data.sources.base import Source
    from ttl_lightning.data.window_options import WindowView

AUGMENT = "ttl_lightning.data.transforms.Augment"
_CLASSES = {
    # by the module and class of before the rooms, which stored configurations and identities name
    "csv.CsvDataModule": "table.CsvSource",
    "folder.FolderDataModule": "folder.FolderSource",
    "medmnist.MedMNISTDataModule": "medmnist.MedMNISTSource",
    "medmnist3d.MedMNIST3dDataModule": "medmnist.MedMNIST3dSource",
    "npz.NpzDataModule": "npz.NpzSource",
    "npz3d.Npz3dDataModule": "npz.Npz3dSource",
    "phantom.PhantomDataModule": "phantom.PhantomSource",
    "phantom3d.Phantom3dDataModule": "phantom3d.Phantom3dSource",
    "volumes.VolumesDataModule": "studies.StudiesSource",
}
_LATER = (
    *("lungs.LungsSource", "masks.Masks3dSource", "masks.MasksSource", "bimcv.BimcvSource"),
    *("chexpert.ChexpertSource", "covid_chestxray.CovidChestXraySource", "midog.MidogSource"),
    *("rspect.PenetSource", "rspect.RadfusionSource", "rspect.RspectSource"),
    "ham10000.Ham10000Source",
)
_FIRST_NAMES = {
    f"ttl_lightning.data.sources.{new}": f"ttl_lightning.data.{old}"
    for old, new in _CLASSES.items()
} | {name: name for name in map("ttl_lightning.data.sources.{}".format, _LATER)}
SOURCES = frozenset(_FIRST_NAMES) | frozenset(_FIRST_NAMES.values())


class Made(NamedTuple):
    """What the options of `data` say: where samples come from, and how they are seen and loaded."""

    source: Source
    view: ImageView | WindowView
    loading: Loading


def source(name: object) -> type[Source] | None:
    """The source of this name; None, and nothing imported, if it is not one of `SOURCES`."""
    if name not in SOURCES:
        return None
    module, _, attribute = today(str(name)).rpartition(".")
    found: type[Source] = getattr(importlib.import_module(module), attribute)
    return found


def made(kind: type[Source], options: Mapping[str, Any], seed: int = 0) -> Made:
    """Make a source and what goes with it of options that lie side by side; imports no torch.

    Args:
        kind: of the source.
        options: by the keys below `data`, without `_target_`; the others have their defaults.
        seed: of what is drawn.

    Raises:
        TTLError: naming the key that is unknown or out of range, or the data's place.
    """
    from ttl_lightning.data.options import Loading

    given = {**kind.defaults, **options}
    kinds = (kind, kind.view, Loading)
    own = [{field.name for field in fields(one)} - {"seed"} for one in kinds]
    for key in given:
        if not any(key in names for names in own):
            raise ConfigError(f"unknown key 'data.{key}': {kind.__name__} takes no such argument.")
    parts = [{key: given[key] for key in names & given.keys()} for names in own]
    try:
        # the cheap ones first: a source looks at its files
        loading, view = Loading(**parts[2]), kind.view(**parts[1])
        return Made(kind(**parts[0], seed=seed), view, loading)
    except (OSError, TypeError, ValueError) as error:  # what no check foresees
        raise ConfigError(f"data: {type(error).__name__}: {error}") from error


def today(name: str) -> str:
    """The full name that a source has now; any other name as it is."""
    return next((new for new, first in _FIRST_NAMES.items() if name == first), name)


def first_name(name: str) -> str:
    """The full name that a source had first, by which runs are told apart; any other as it is."""
    return _FIRST_NAMES.get(name, name)
