"""data=medmnist: the data sets of the `medmnist` package, which downloads and checks them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Unpack

from ttl_lightning.data.base import CommonOptions, ImageDataModule
from ttl_lightning.data.npz import load_npz
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.store import ArrayImages
from ttl_lightning.errors import ConfigError, DataError, check_choice

SOURCE_SIZES = (28, 64, 128, 224)


class MedMNISTDataModule(ImageDataModule):
    """A two-dimensional MedMNIST data set on its official splits.

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
        info = _package().INFO
        if "3d" in dataset and dataset in info:
            raise ConfigError(
                f"data.dataset={dataset} holds volumes, and data=medmnist takes images: choose "
                f"data=npz3d with data.path={dataset}_64.npz, the file that MedMNIST offers."
            )
        check_choice("data.dataset", dataset, [key for key in info if "3d" not in key])
        if source_size not in SOURCE_SIZES:
            allowed = ", ".join(str(size) for size in SOURCE_SIZES)
            raise ConfigError(f"data.source_size must be one of {allowed}, got {source_size!r}.")
        self.dataset, self.source_size, self.path = dataset, source_size, Path(path).expanduser()

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """The MD5 that the package demands of the file, which may not be there yet."""
        size = options["source_size"]
        key = "MD5" if size == SOURCE_SIZES[0] else f"MD5_{size}"
        return {"md5": str(_package().INFO[options["dataset"]].get(key))}

    def prepare_data(self) -> None:
        """Download the file unless it is there, and check its MD5.

        Raises:
            DataError: naming the folder and the reason, if that fails.
        """
        package, folder = _package(), self.path
        kind = getattr(package, self._info()["python_class"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kind(split="test", download=True, root=str(folder), size=self.source_size)
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise DataError(
                f"data.dataset={self.dataset} could not be downloaded to {folder}: {error}. "
                f"Without network, put {self._file().name} there, or use data=npz."
            ) from error

    def load(self) -> tuple[Samples, ArrayImages]:
        """Read the downloaded file.

        Raises:
            DataError: naming the file, if it is not there or not as it should be.
        """
        self.notes.append("MedMNIST gives no patient ids: its official splits are taken as given.")
        names = self._info()["label"]
        return load_npz(self._file(), [names[str(i)] for i in range(len(names))])

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = _package().INFO[self.dataset]
        return info

    def _file(self) -> Path:
        size = "" if self.source_size == SOURCE_SIZES[0] else f"_{self.source_size}"
        return self.path / f"{self.dataset}{size}.npz"


def _package() -> ModuleType:
    """The medmnist package, imported only here.

    Raises:
        ConfigError: naming the extra, if it is not installed.
    """
    try:
        import medmnist
    except ImportError:
        raise ConfigError(
            "data=medmnist needs the medmnist package: pip install 'ttl_lightning[medmnist]'."
        ) from None
    package: ModuleType = medmnist
    return package
