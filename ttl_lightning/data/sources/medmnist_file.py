"""A file of the `medmnist` package, which names, downloads and checks it: images or volumes."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttl_lightning.errors import ConfigError, DataError, check_choice

SIZES = {"medmnist": (28, 64, 128, 224), "medmnist3d": (28, 64)}
"""Sides of what can be downloaded, by the source that takes it."""
NO_PATIENTS = "MedMNIST gives no patient ids: its official splits are taken as given."


@dataclass(frozen=True, slots=True)
class MedMNISTFile:
    """One data set in one size.

    Attributes:
        source: that takes it, one of `SIZES`.
        dataset: its name in the package, such as "pneumoniamnist".
        size: of its images or volumes, on each side.
        folder: for the download.

    Raises:
        ConfigError: if the package is not installed, or has no such data set or size.
    """

    source: str
    dataset: str
    size: int
    folder: Path

    def __post_init__(self) -> None:
        """Check what was given."""
        info = _info()
        if self.dataset in info and (other := _source(self.dataset)) != self.source:
            kinds = {"medmnist": "images", "medmnist3d": "volumes"}
            raise ConfigError(
                f"data.dataset={self.dataset} holds {kinds[other]}, and data={self.source} takes "
                f"{kinds[self.source]}: choose data={other}."
            )
        check_choice("data.dataset", self.dataset, [n for n in info if _source(n) == self.source])
        if self.size not in SIZES[self.source]:
            allowed = ", ".join(str(size) for size in SIZES[self.source])
            raise ConfigError(f"data.source_size must be one of {allowed}, got {self.size!r}.")

    @property
    def path(self) -> Path:
        """The file, as the package calls it; it may not be there yet."""
        size = "" if self.size == SIZES[self.source][0] else f"_{self.size}"
        return self.folder / f"{self.dataset}{size}.npz"

    @property
    def classes(self) -> list[str]:
        """Names by class number."""
        names = _info()[self.dataset]["label"]
        return [names[str(i)] for i in range(len(names))]

    def download(self) -> None:
        """Get the file unless it is there, and check its MD5.

        Raises:
            DataError: naming the folder and the reason, if that fails.
        """
        kind = getattr(importlib.import_module("medmnist"), _info()[self.dataset]["python_class"])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kind(split="test", download=True, root=str(self.folder), size=self.size)
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise DataError(
                f"data.dataset={self.dataset} could not be downloaded to {self.folder}: {error}. "
                f"Without network, put {self.path.name} there, or use data=npz."
            ) from error


def promised(dataset: str, size: int) -> dict[str, str]:
    """The MD5 that the package demands of a file, which may not be there yet."""
    key = "MD5" if size == SIZES["medmnist"][0] else f"MD5_{size}"
    return {"md5": str(_info()[dataset].get(key))}


def _source(dataset: str) -> str:
    return "medmnist3d" if dataset.endswith("3d") else "medmnist"


def _info() -> dict[str, dict[str, Any]]:
    """What the medmnist package knows of its data sets, from the one file of it without torch.

    Raises:
        ConfigError: naming the extra, if it is not installed.
    """
    name = "medmnist.info"
    if name in sys.modules:
        known = sys.modules[name]
    else:
        package = importlib.util.find_spec("medmnist")
        if package is None or package.origin is None:
            raise ConfigError(
                "data=medmnist needs the medmnist package: pip install 'ttl_lightning[medmnist]'."
            )
        spec = importlib.util.spec_from_file_location(
            name, Path(package.origin).with_name("info.py")
        )
        assert spec is not None  # of a path that ends in .py
        assert spec.loader is not None
        known = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(known)
    info: dict[str, dict[str, Any]] = known.INFO
    return info
