"""The package's own data sources by the full names that configurations use; imported when asked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttl_lightning.data.module import ClassificationDataModule

AUGMENT = "ttl_lightning.data.transforms.Augment"
SOURCES = frozenset(
    f"ttl_lightning.data.{name}"
    for name in (
        "csv.CsvDataModule",
        "folder.FolderDataModule",
        "medmnist.MedMNISTDataModule",
        "medmnist3d.MedMNIST3dDataModule",
        "npz.NpzDataModule",
        "npz3d.Npz3dDataModule",
        "phantom.PhantomDataModule",
        "phantom3d.Phantom3dDataModule",
        "volumes.VolumesDataModule",
    )
)


def source(name: object) -> type[ClassificationDataModule] | None:
    """The source of this name; None, and nothing imported, if it is not one of `SOURCES`."""
    if name not in SOURCES:
        return None
    module, _, attribute = str(name).rpartition(".")
    found: type[ClassificationDataModule] = getattr(importlib.import_module(module), attribute)
    return found
