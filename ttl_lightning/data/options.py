"""Options of `data` that are no source's own: how samples are seen, kept and loaded. No torch."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ttl_lightning.errors import ConfigError, check_choice, check_number

CACHES = ("auto", "memory", "disk", "none")
SHARED = "TTL_LIGHTNING_DECODED"
"""Environment variable: a folder that the jobs of a sweep share, for what one of them decodes."""
# of a colour image at the size that is kept: a folder must have room for twice all of them
_BYTES_A_PIXEL = 3
ON_BAD_IMAGE = ("raise", "skip")
ON_DUPLICATE = ("raise", "drop")
FITS = ("squash", "pad", "crop")
FIT = "squash"
"""How an image becomes a square, and how it does by default."""
EVAL_VIEWS = ("train_scale", "whole", "center_crop")
EVAL_VIEW = "train_scale"
"""How evaluation reads an image, and how it does by default."""
MOST_VIEWS = 64


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How samples are loaded and kept, and what is done about those that are not as they should be.

    Attributes:
        batch_size: samples a batch and process.
        num_workers: processes that load; 0 loads in the main process, and so does "auto" outside
            of a run.
        cache: where what is decoded is kept: "memory", "disk", "none", or "auto": in memory, of
            files in a sweep on a disk, where its jobs share it.
        cache_dir: folder for cache="disk"; by default the user's own cache folder.
        on_bad_image: "raise", or "skip" images (or studies) that cannot be read.
        max_bad: most that may be skipped.
        on_duplicate: where an image is in two splits, "raise", or "drop" it from the earlier of
            train, val, test.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    batch_size: int = 64
    num_workers: int | str = "auto"
    cache: str = "auto"
    cache_dir: str | Path | None = None
    on_bad_image: str = "raise"
    max_bad: int = 10
    on_duplicate: str = "raise"

    def __post_init__(self) -> None:
        """Check what was given."""
        check_number("data.batch_size", self.batch_size, 1, 65536, integer=True)
        if self.num_workers != "auto":
            check_number("data.num_workers", self.num_workers, 0, 1024, integer=True)
        check_choice("data.cache", self.cache, CACHES)
        check_choice("data.on_bad_image", self.on_bad_image, ON_BAD_IMAGE)
        check_number("data.max_bad", self.max_bad, 0, integer=True)
        check_choice("data.on_duplicate", self.on_duplicate, ON_DUPLICATE)

    def place(self, name: str, files: int, size: int) -> Place:
        """Where what is decoded is kept.

        Args:
            name: of the disk cache, in the user's own.
            files: how many there are to decode; 0 if they are no files.
            size: height and width at which images are kept.
        """
        if self.cache != "auto":
            return Place(self.cache, self.folder(name))
        shared = os.environ.get(SHARED)
        if shared and files and _has_room(Path(shared), 2 * files * size**2 * _BYTES_A_PIXEL):
            return Place("disk", Path(shared), shared=True)
        return Place("memory", self.folder(name))

    def folder(self, name: str) -> Path:
        """That of the disk cache: the one that is given, or of this name in the user's own."""
        if self.cache_dir is not None:
            return Path(self.cache_dir).expanduser()
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "ttl_lightning" / name


class Place(NamedTuple):
    """Where what is decoded is kept.

    cache: "memory", "disk" or "none". folder: of the disk cache. shared: by the jobs of a sweep, of
    which one decodes while the others wait for it.
    """

    cache: str
    folder: Path
    shared: bool = False


def _has_room(folder: Path, count: int) -> bool:
    """Whether so many bytes fit where a folder is, or is to be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free > count


@dataclass(frozen=True, kw_only=True)
class View(ABC):
    """What a network sees of samples.

    Attributes:
        in_channels: 1 (colour is averaged to grey) or 3 (grey is repeated).
        fit: how images become squares: "squash", "pad" or "crop", as `fit.fit_square` says.
        eval_view: how validation and test images are read: "train_scale", "whole" or
            "center_crop", as `views.evaluation` says.
        tta: views of each test sample, whose probabilities are averaged; 1 is the evaluation's
            view alone. Validation has one view.
        masks: batches have the samples' masks, too.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    counted: ClassVar[str]
    """What one entry of the source is called, in notes."""

    in_channels: int = 3
    fit: str = FIT
    eval_view: str = EVAL_VIEW
    tta: int = 1
    masks: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        if not isinstance(self.masks, bool):
            raise ConfigError(f"data.masks must be true or false, got {self.masks!r}.")
        if self.masks and self.tta != 1:
            raise ConfigError(f"data.tta={self.tta} is for classes; masks are read in one view.")
        if self.in_channels not in (1, 3):
            raise ConfigError(f"data.in_channels must be 1 or 3, got {self.in_channels!r}.")
        check_choice("data.fit", self.fit, FITS)
        check_choice("data.eval_view", self.eval_view, EVAL_VIEWS)
        check_number("data.tta", self.tta, 1, MOST_VIEWS, integer=True)

    @property
    @abstractmethod
    def side(self) -> int:
        """Height and width of the network's input."""


@dataclass(frozen=True, kw_only=True)
class ImageView(View):
    """Images, whole.

    Attributes:
        image_size: height and width of the network's input, in pixels.
        patch_size: of images with masks: height and width of what the network sees at once.
            Training draws such patches of images at `image_size`, and evaluation reads these by
            overlapping windows; by default they are seen whole.
    """

    counted: ClassVar[str] = "images"

    image_size: int = 64
    patch_size: int | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        check_number("data.image_size", self.image_size, 8, 4096, integer=True)
        super().__post_init__()
        if self.patch_size is not None:
            check_number("data.patch_size", self.patch_size, 8, self.image_size, integer=True)
            if not self.masks:
                raise ConfigError(
                    f"data.patch_size={self.patch_size} is for task=segmentation: a class is of "
                    "the whole image, which data.image_size gives."
                )

    @property
    def patch(self) -> int:
        """Height and width of what training shows."""
        return self.patch_size or self.image_size

    @property
    def window(self) -> tuple[int, ...] | None:
        """Spatial size of what the network sees at once of an image; None: all of it."""
        return None if self.patch_size is None else (self.patch_size, self.patch_size)

    @property
    def side(self) -> int:
        """Height and width of the network's input."""
        return self.image_size


def ascending_pair(
    key: str, value: Sequence[float], low: float, high: float
) -> tuple[float, float]:
    """Two numbers in [low, high], ascending.

    Raises:
        ConfigError: naming the key.
    """
    pair = items_of(value)
    if len(pair) != 2:
        raise ConfigError(f"{key} must be two numbers from {low:g} to {high:g}, got {value!r}.")
    for number in pair:
        check_number(key, number, low, high)
    if pair[0] > pair[1]:
        raise ConfigError(f"{key} must be given as [smallest, largest], got {value!r}.")
    return (float(pair[0]), float(pair[1]))


def items_of(value: object) -> tuple[Any, ...]:
    """What a list holds; nothing of what is none."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def per_channel(
    key: str, value: Sequence[float] | None, channels: int, low: float
) -> tuple[float, ...]:
    """One number a channel, 0.5 each by default.

    Raises:
        ConfigError: naming the key.
    """
    numbers = (0.5,) * channels if value is None else tuple(value)
    if len(numbers) != channels:
        raise ConfigError(
            f"data.{key} must have data.in_channels={channels} numbers, got {value!r}."
        )
    for number in numbers:
        check_number(f"data.{key}", number, low, 1e6)
    return tuple(float(number) for number in numbers)
