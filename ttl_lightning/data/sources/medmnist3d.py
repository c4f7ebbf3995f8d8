"""data=medmnist3d: the data sets of volumes of the `medmnist` package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.medmnist_file import NO_PATIENTS, MedMNISTFile, promised
from ttl_lightning.data.sources.npz import load_arrays
from ttl_lightning.data.sources.npz3d import ArrayVolumeDataModule, ArrayVolumeOptions


class MedMNIST3dDataModule(ArrayVolumeDataModule):
    """A three-dimensional MedMNIST data set on its official splits; each volume is one study.

    Args:
        dataset: its name in the package, such as "adrenalmnist3d".
        source_size: slices, height and width of the volumes to download.
        path: folder for the download.

    Raises:
        ConfigError: if the package is not installed or has no such data set or size.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(
        self,
        *,
        name: str = "medmnist3d",
        on_duplicate: str = "drop",
        dataset: str = "adrenalmnist3d",
        source_size: int = 28,
        path: str | Path = "~/.medmnist",
        **options: Unpack[ArrayVolumeOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **options)
        self.file = MedMNISTFile("medmnist3d", dataset, source_size, Path(path).expanduser())

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """The MD5 that the package demands of the file, which may not be there yet."""
        return promised(options["dataset"], options["source_size"])

    def prepare_data(self) -> None:
        """Download the file unless it is there, and check its MD5.

        Raises:
            DataError: naming the folder and the reason, if that fails.
        """
        self.file.download()

    def arrays(self) -> tuple[Samples, NDArray[np.uint8], str]:
        """Read the downloaded file."""
        return *load_arrays(self.file.path, "npz3d", self.file.classes), NO_PATIENTS
