"""data=medmnist and data=medmnist3d: data sets of the `medmnist` package, which downloads them."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.npz import load_file
from ttl_lightning.data.window_options import DepthView
from ttl_lightning.errors import ConfigError, DataError, check_choice

SMALLEST = 28
"""Side of the images or volumes that a file holds whose name says none."""
Info = dict[str, dict[str, Any]]
NO_PATIENTS = "MedMNIST gives no patient ids: its official splits are taken as given."


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
    choice: ClassVar[str] = "medmnist"
    layout: ClassVar[str] = "npz"
    sizes: ClassVar[tuple[int, ...]] = (SMALLEST, 64, 128, 224)

    name: str = "medmnist"
    dataset: str = "pneumoniamnist"
    source_size: int = SMALLEST
    path: str | Path = "~/.medmnist"

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        info = _info()
        if self.dataset in info and (other := _choice(self.dataset)) != self.choice:
            kinds = {"medmnist": "images", "medmnist3d": "volumes"}
            raise ConfigError(
                f"data.dataset={self.dataset} holds {kinds[other]}, and data={self.choice} takes "
                f"{kinds[self.choice]}: choose data={other}."
            )
        check_choice("data.dataset", self.dataset, [n for n in info if _choice(n) == self.choice])
        if self.source_size not in self.sizes:
            allowed = ", ".join(str(size) for size in self.sizes)
            raise ConfigError(
                f"data.source_size must be one of {allowed}, got {self.source_size!r}."
            )

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """The MD5 that the package demands of the file, which may not be there yet."""
        size = options["source_size"]
        key = "MD5" if size == SMALLEST else f"MD5_{size}"
        return {"md5": str(_info()[options["dataset"]].get(key))}

    @property
    def file(self) -> Path:
        """What is downloaded, as the package calls it; it may not be there yet."""
        size = "" if self.source_size == SMALLEST else f"_{self.source_size}"
        return Path(self.path).expanduser() / f"{self.dataset}{size}.npz"

    @property
    def classes(self) -> list[str]:
        """Names by class number."""
        names = _info()[self.dataset]["label"]
        return [names[str(i)] for i in range(len(names))]

    def prepare(self) -> None:
        """Download the file unless it is there, and check its MD5.

        Raises:
            DataError: naming the folder and the reason, if that fails.
        """
        folder = self.file.parent
        kind = getattr(importlib.import_module("medmnist"), _info()[self.dataset]["python_class"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kind(split="test", download=True, root=str(folder), size=self.source_size)
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise DataError(
                f"data.dataset={self.dataset} could not be downloaded to {folder}: {error}. "
                f"Without network, put {self.file.name} there, or use data=npz."
            ) from error

    def load(self, side: int) -> Samples:
        """Read the downloaded file.

        Raises:
            DataError: naming the file, if it is not there or not as it should be.
        """
        return load_file(self.file, self.layout, self.classes, NO_PATIENTS)


@dataclass(frozen=True, kw_only=True)
class MedMNIST3dSource(MedMNISTSource):
    """A three-dimensional MedMNIST data set on its official splits; each volume is one study.

    Its `dataset` is such as "adrenalmnist3d", and `source_size` that of the volumes' slices too.
    """

    view = DepthView
    choice: ClassVar[str] = "medmnist3d"
    layout: ClassVar[str] = "npz3d"
    sizes: ClassVar[tuple[int, ...]] = (SMALLEST, 64)

    name: str = "medmnist3d"
    dataset: str = "adrenalmnist3d"


def _choice(dataset: str) -> str:
    return "medmnist3d" if dataset.endswith("3d") else "medmnist"


def _info() -> Info:
    """What the medmnist package knows of its data sets, from the one file of it without torch.

    Raises:
        ConfigError: naming the extra, if it is not installed.
    """
    known = sys.modules.get("medmnist.info")
    if known is not None:
        return cast(Info, known.INFO)
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise ConfigError(
            "data=medmnist needs the medmnist package: pip install 'ttl_lightning[medmnist]'."
        )
    return cast(Info, runpy.run_path(str(Path(package.origin).with_name("info.py")))["INFO"])
