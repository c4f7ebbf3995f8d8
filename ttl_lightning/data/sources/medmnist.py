"""data=medmnist: the data sets of the `medmnist` package, which downloads and checks them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Unpack

from ttl_lightning.data.image_module import CommonOptions, ImageDataModule
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.medmnist_file import NO_PATIENTS, MedMNISTFile, promised
from ttl_lightning.data.sources.npz import load_npz
from ttl_lightning.data.store import ArrayImages


class MedMNISTDataModule(ImageDataModule):
    """A two-dimensional MedMNIST data set on its official splits.

    Those of volumes are for `medmnist3d.MedMNIST3dDataModule`; the command line chooses.

    Args:
        dataset: its name in the package, such as "pneumoniamnist".
        source_size: height and width of the images to download.
        path: folder for the download.

    Raises:
        ConfigError: if the package is not installed or has no such data set or size.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(
        self,
        *,
        name: str = "medmnist",
        on_duplicate: str = "drop",
        dataset: str = "pneumoniamnist",
        source_size: int = 28,
        path: str | Path = "~/.medmnist",
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        self.file = MedMNISTFile("medmnist", dataset, source_size, Path(path).expanduser())

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

    def load(self) -> tuple[Samples, ArrayImages]:
        """Read the downloaded file.

        Raises:
            DataError: naming the file, if it is not there or not as it should be.
        """
        self.notes.append(NO_PATIENTS)
        return load_npz(self.file.path, self.file.classes)
