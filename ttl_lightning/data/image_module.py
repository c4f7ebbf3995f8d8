"""What every source of images shares: what there is to load, and how it becomes data sets."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Unpack

from ttl_lightning.data.checks import verify_samples
from ttl_lightning.data.module import ClassificationDataModule, SharedOptions
from ttl_lightning.data.samples import SPLITS, Samples
from ttl_lightning.data.store import ImageReader, ImageStore
from ttl_lightning.data.transforms import TrainTransform
from ttl_lightning.data.views.dataset import ImageDataset
from ttl_lightning.errors import ConfigError, DataError, check_number


class CommonOptions(SharedOptions, total=False):
    """Options of every source of images; a subclass takes them and hands them on unread."""

    image_size: int
    cache: str


class ImageDataModule(ClassificationDataModule):
    """Base of all sources of images: a subclass adds its options, and says what there is to load.

    Args:
        image_size: height and width of the network's input, in pixels.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    def __init__(
        self,
        *,
        name: str,
        image_size: int = 64,
        cache: str = "memory",
        on_duplicate: str = "raise",
        **shared: Unpack[SharedOptions],
    ) -> None:
        check_number("data.image_size", image_size, 8, 4096, integer=True)
        super().__init__(name=name, cache=cache, on_duplicate=on_duplicate, **shared)
        self.image_size = image_size

    @property
    def input_side(self) -> int:
        """Height and width of the network's input."""
        return self.image_size

    @abstractmethod
    def load(self) -> tuple[Samples, ImageReader]:
        """Say what images there are, without decoding files; notes go to `self.notes`.

        Raises:
            DataError: naming the file, folder or column that is not as it should be.
        """

    def _prepare(self) -> Samples:
        samples, reader = self.load()
        verify_samples(samples)
        size = self.augment.stored_size(self.image_size)
        folder = self._cache_folder("images")
        store = ImageStore(reader, size, self.in_channels, self.cache, folder, self.fit)
        rows = self._usable(samples, store.scan(self.on_bad_image, self.max_bad))
        samples = samples.take(rows)
        verify_samples(samples)
        training = TrainTransform(self.augment, self.image_size, self.mean, self.std, self.seed)
        for split in SPLITS:
            chosen = samples.rows(split)
            self._datasets[split] = ImageDataset(
                store,
                rows[chosen],
                samples.labels[chosen],
                training if split == "train" else self.evaluation,
            )
        return samples


def existing_path(path: str | Path | None) -> Path:
    """The file or folder that data.path names, seen from where the command was given.

    Raises:
        ConfigError: if none is given.
        DataError: if it does not exist.
    """
    if not path:
        raise ConfigError("data.path must name the data's file or folder, got nothing.")
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"data.path: no such file or folder: {found} (seen from {Path.cwd()}).")
    if (
        not found.is_file() and not found.is_dir()
    ):  # a pipe would be waited for, a device never ends
        raise DataError(f"data.path: {found} is neither a file nor a folder.")
    return found
