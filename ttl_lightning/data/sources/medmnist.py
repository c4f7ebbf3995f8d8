"""data=medmnist and data=medmnist3d: the data sets of the `medmnist` package, which has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ttl_lightning.data.options import DepthView
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.medmnist_file import NO_PATIENTS, MedMNISTFile, promised
from ttl_lightning.data.sources.npz import load_images, load_volumes


@dataclass(frozen=True, kw_only=True)
class MedMNISTSource(Source):
    """A two-dimensional MedMNIST data set on its official splits.

    Those of volumes are for `MedMNIST3dSource`; the command line chooses.

    Attributes:
        dataset: its name in the package, such as "pneumoniamnist".
        source_size: height and width of the images to download.
        path: folder for the download.

    Raises:
        ConfigError: if the package is not installed or has no such data set or size.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"on_duplicate": "drop"}
    places: ClassVar[tuple[str, ...]] = ("path",)
    kind: ClassVar[str] = "medmnist"

    name: str = "medmnist"
    dataset: str = "pneumoniamnist"
    source_size: int = 28
    path: str | Path = "~/.medmnist"

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        _ = self.file  # which says what is wrong

    @property
    def file(self) -> MedMNISTFile:
        """What is downloaded."""
        folder = Path(self.path).expanduser()
        return MedMNISTFile(self.kind, self.dataset, self.source_size, folder)

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """The MD5 that the package demands of the file, which may not be there yet."""
        return promised(options["dataset"], options["source_size"])

    def prepare(self) -> None:
        """Download the file unless it is there, and check its MD5.

        Raises:
            DataError: naming the folder and the reason, if that fails.
        """
        self.file.download()

    def load(self, side: int) -> Samples:
        """Read the downloaded file.

        Raises:
            DataError: naming the file, if it is not there or not as it should be.
        """
        return load_images(self.file.path, self.file.classes, NO_PATIENTS)


@dataclass(frozen=True, kw_only=True)
class MedMNIST3dSource(MedMNISTSource):
    """A three-dimensional MedMNIST data set on its official splits; each volume is one study.

    Its `dataset` is such as "adrenalmnist3d", and `source_size` that of the volumes' slices too.
    """

    view = DepthView
    kind: ClassVar[str] = "medmnist3d"

    name: str = "medmnist3d"
    dataset: str = "adrenalmnist3d"

    def load(self, side: int) -> Samples:
        """Read the downloaded file.

        Raises:
            DataError: naming the file, if it is not there or not as it should be.
        """
        return load_volumes(self.file.path, self.file.classes, NO_PATIENTS)
