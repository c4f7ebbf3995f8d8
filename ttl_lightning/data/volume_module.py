"""What every source of volumes shares: windows, their options, and how they become data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.checks import verify_samples
from ttl_lightning.data.module import ClassificationDataModule, SharedOptions
from ttl_lightning.data.ranges import window_notes
from ttl_lightning.data.samples import SPLITS, Labels, Samples
from ttl_lightning.data.transforms import TrainTransform, ascending_pair
from ttl_lightning.data.views.dataset import WindowDataset
from ttl_lightning.data.views.windows import Integers, WindowDraws, Windows
from ttl_lightning.data.volume_store import VolumeReader, VolumeStore
from ttl_lightning.errors import ConfigError, DataError, check_number


class WindowOptions(SharedOptions, total=False):
    """Options of every source of volumes; a subclass takes them and hands them on unread."""

    windows_per_study: int | None
    min_abnormal_slices: int
    abnormal_fraction: float | None
    hu_window: Sequence[float] | None


class VolumeOptions(WindowOptions, total=False):
    """Those, too, whose defaults suit files and not what is drawn."""

    image_size: Sequence[int]
    window_stride: int | None
    cache: str


class VolumeDataModule(ClassificationDataModule):
    """Base of all sources of volumes: a network sees a study through windows of its slices.

    Training samples are windows: `labels("train")` and `sample_ids("train")` are those of the
    grid. Of validation and test, both are the studies', and each window says of which it is.

    Args:
        image_size: slices, height and width of the network's input; height and width are equal.
        window_stride: slices from one window to the next; by default the window's length.
        windows_per_study: training windows a study and epoch; by default each of the grid once.
        min_abnormal_slices: abnormal slices that make a window positive, where the source knows
            which slices are abnormal.
        abnormal_fraction: probability that a training window lies about an abnormal slice of its
            study, if it has any; by default windows are taken as they come.
        hu_window: values of black and white; None takes each study's 0.5th and 99.5th percentile.
        cache: "disk", "memory", or "none", which reads a whole study for every window.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    counted = "studies"

    def __init__(
        self,
        *,
        name: str,
        image_size: Sequence[int] = (24, 192, 192),
        window_stride: int | None = None,
        windows_per_study: int | None = None,
        min_abnormal_slices: int = 4,
        abnormal_fraction: float | None = None,
        hu_window: Sequence[float] | None = (-100, 900),
        cache: str = "disk",
        on_duplicate: str = "raise",
        **shared: Unpack[SharedOptions],
    ) -> None:
        size = _volume_size(image_size)
        length = size[0]
        if window_stride is not None:
            check_number("data.window_stride", window_stride, 1, length, integer=True)
        if windows_per_study is not None:
            check_number("data.windows_per_study", windows_per_study, 1, 65536, integer=True)
        check_number("data.min_abnormal_slices", min_abnormal_slices, 1, length, integer=True)
        if abnormal_fraction is not None:
            check_number("data.abnormal_fraction", abnormal_fraction, 0, 1)
        super().__init__(name=name, cache=cache, on_duplicate=on_duplicate, **shared)
        self.image_size = size
        self.window_stride = window_stride or length
        self.min_abnormal_slices = min_abnormal_slices
        self.hu_window = None if hu_window is None else _hu_window(hu_window)
        self._draws = WindowDraws(
            windows_per_study, self.augment.slice_jitter, abnormal_fraction or 0.0, self.seed
        )
        self._windows: dict[str, Windows] = {}

    @property
    def input_side(self) -> int:
        """Height and width of the network's input."""
        return self.image_size[1]

    @abstractmethod
    def load(self) -> tuple[Samples, VolumeReader]:
        """Say what studies there are, without reading their voxels; notes go to `self.notes`.

        Raises:
            DataError: naming the file, folder or column that is not as it should be.
        """

    def abnormal_slices(self, row: int, count: int) -> Integers | None:
        """Which of a study's `count` slices show what is looked for, ascending.

        Asked once all studies have been read; None where the source does not know, for all studies
        or for none.

        Raises:
            DataError: if there is no such slice.
        """
        return None

    def labels(self, split: str) -> Labels:
        """Labels of the grid's windows for train, of the studies else; form as the base says."""
        labels = super().labels(split)
        if split != "train":
            return labels
        windows = self._windows[split]
        return windows.label(windows.grid)

    def sample_ids(self, split: str) -> list[str]:
        """Studies, to which a batch's "study" points; for train "<study>/<first slice>"."""
        ids = super().sample_ids(split)
        if split != "train":
            return ids
        studies, starts = self._windows[split].grid
        return [f"{ids[study]}/{start}" for study, start in zip(studies, starts, strict=True)]

    def _prepare(self) -> Samples:
        samples, reader = self.load()
        verify_samples(samples)
        size = self.augment.stored_size(self.image_size[1])
        store = VolumeStore(reader, size, self.cache, self._cache_folder("volumes"), self.fit)
        rows = self._usable(samples, store.scan(self.on_bad_image, self.max_bad))
        if self.cache == "disk":
            self.notes.append(
                f"{len(reader)} studies take {store.megabytes():.1f} MB in "
                f"{self._cache_folder('volumes')}."
            )
        samples = samples.take(rows)
        verify_samples(samples)
        facts = [store.facts(int(row)) for row in rows]
        if self.hu_window is not None:
            ends = np.array([(found.lowest, found.highest) for found in facts])
            self.notes += window_notes(ends[:, 0], ends[:, 1], self.hu_window)
        slices = np.array([found.shape[0] for found in facts], np.int64)
        abnormal = self._abnormal(samples, rows, slices)
        common = (self.image_size[1], self.mean, self.std)
        for split in SPLITS:
            chosen, training = samples.rows(split), split == "train"
            windows = self._windows[split] = Windows(
                slices[chosen],
                samples.labels[chosen],
                None if abnormal is None else [abnormal[row] for row in chosen],
                self.image_size[0],
                self.window_stride,
                self.min_abnormal_slices,
            )
            self._datasets[split] = WindowDataset(
                store,
                rows[chosen],
                windows,
                self._draws if training else None,
                self.hu_window,
                TrainTransform(self.augment, *common, self.seed) if training else self.evaluation,
            )
        self._check_classes(self._windows["train"], samples.class_names)
        return samples

    def _abnormal(
        self, samples: Samples, rows: NDArray[np.int64], slices: Integers
    ) -> list[Integers] | None:
        """Abnormal slices of the usable studies, which must agree with the studies' labels."""
        found: list[Integers] = []
        for row, count, study, label in zip(rows, slices, samples.ids, samples.labels, strict=True):
            abnormal = self.abnormal_slices(int(row), int(count))
            if abnormal is None:
                if self._draws.abnormal_fraction:
                    raise ConfigError(
                        f"data.abnormal_fraction={self._draws.abnormal_fraction:g} needs to know "
                        "which slices are abnormal, and the data do not say it."
                    )
                return None
            if samples.task != "binary":
                raise DataError(
                    "abnormal slices go with one label of two classes, and the task is "
                    f"{samples.task}: leave them out."
                )
            if bool(len(abnormal)) != bool(label):
                raise DataError(
                    f"study {study!r} is of class {samples.class_names[label]!r}, but has "
                    f"{len(abnormal)} abnormal slices."
                )
            found.append(abnormal)
        return found

    def _check_classes(self, windows: Windows, class_names: Sequence[str]) -> None:
        """Demand a window of every class in the training grid.

        Raises:
            DataError: saying what decides it.
        """
        labels = windows.label(windows.grid)
        for number, name in enumerate(class_names):
            if labels.ndim == 1 and not (labels == number).any():
                raise DataError(
                    f"no training window of class {name!r}: change data.window_stride="
                    f"{self.window_stride} or data.min_abnormal_slices={self.min_abnormal_slices}."
                )


def _volume_size(value: Sequence[int]) -> tuple[int, int, int]:
    """Slices, height and width.

    Raises:
        ConfigError: naming the key.
    """
    given: object = value
    size = tuple(value) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if len(size) != 3 or size[1] != size[2]:
        raise ConfigError(
            f"data.image_size must be [slices, height, width] with equal height and width, "
            f"got {value!r}."
        )
    check_number("data.image_size", size[0], 1, 4096, integer=True)
    check_number("data.image_size", size[1], 8, 4096, integer=True)
    return (size[0], size[1], size[2])


def _hu_window(value: Sequence[float]) -> tuple[float, float]:
    """Values of black and white.

    Raises:
        ConfigError: naming the key.
    """
    low, high = ascending_pair("data.hu_window", value, -1e6, 1e6)
    if low == high:
        raise ConfigError(f"data.hu_window must be two different numbers, got {value!r}.")
    return low, high
