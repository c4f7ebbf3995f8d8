"""The package's own data sources by the full names that configurations use; imported when asked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttl_lightning.data.module import ClassificationDataModule

AUGMENT = "ttl_lightning.data.transforms.Augment"
_CLASSES = {
    # by the module and class of before the rooms, which stored configurations and identities name
    "csv.CsvDataModule": "table.CsvDataModule",
    "folder.FolderDataModule": "folder.FolderDataModule",
    "medmnist.MedMNISTDataModule": "medmnist.MedMNISTDataModule",
    "medmnist3d.MedMNIST3dDataModule": "medmnist3d.MedMNIST3dDataModule",
    "npz.NpzDataModule": "npz.NpzDataModule",
    "npz3d.Npz3dDataModule": "npz3d.Npz3dDataModule",
    "phantom.PhantomDataModule": "phantom.PhantomDataModule",
    "phantom3d.Phantom3dDataModule": "phantom3d.Phantom3dDataModule",
    "volumes.VolumesDataModule": "studies.VolumesDataModule",
}
_FIRST_NAMES = {
    f"ttl_lightning.data.sources.{new}": f"ttl_lightning.data.{old}"
    for old, new in _CLASSES.items()
}
SOURCES = frozenset(_FIRST_NAMES) | frozenset(_FIRST_NAMES.values())


def source(name: object) -> type[ClassificationDataModule] | None:
    """The source of this name; None, and nothing imported, if it is not one of `SOURCES`."""
    if name not in SOURCES:
        return None
    module, _, attribute = today(str(name)).rpartition(".")
    found: type[ClassificationDataModule] = getattr(importlib.import_module(module), attribute)
    return found


def today(name: str) -> str:
    """The full name that a source has now; any other name as it is."""
    return next((new for new, first in _FIRST_NAMES.items() if name == first), name)


def first_name(name: str) -> str:
    """The full name that a source had first, by which runs are told apart; any other as it is."""
    return _FIRST_NAMES.get(name, name)
