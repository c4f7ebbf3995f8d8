"""Studies as a run sees them, by windows: the form they are kept in, what is said, data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.ranges import window_notes
from ttl_lightning.data.samples import IGNORED, Integers, Samples
from ttl_lightning.data.store import Facts, Store
from ttl_lightning.data.transforms import TrainTransform, Transform
from ttl_lightning.data.views.dataset import WindowDataset
from ttl_lightning.data.views.fit import MaskForm, VolumeForm
from ttl_lightning.data.views.masks import MaskedStudies, MaskedWindows, MaskTransform
from ttl_lightning.data.views.windows import WindowDraws, Windows
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError, DataError


@dataclass(frozen=True)
class Studies:
    """Studies as a view shows them, by windows of their slices."""

    folder: ClassVar[str] = "volumes"
    """Of the disk cache, in the user's own."""

    view: WindowView

    def form(self, size: int) -> VolumeForm:
        """How they are kept, of a height and width."""
        return VolumeForm(size, self.view.fit, self.view.depth)

    def notes(self, facts: Sequence[Facts], ids: Sequence[str]) -> list[str]:
        """What a run says of the studies that can be read and hardly reach into the window.

        Raises:
            DataError: naming the range seen, if that is so of all studies.
        """
        window = self.view.black_and_white
        if window is None:
            return []
        lowest, highest = (
            np.array([getattr(one, end) for one in facts]) for end in ("lowest", "highest")
        )
        return window_notes(lowest, highest, window)

    def dataset(
        self, store: Store, rows: Integers, samples: Samples, transform: Transform
    ) -> WindowDataset:
        """One split; a sample is a window where training reads it, a study else.

        Args:
            store: of all the source's studies.
            rows: of the split's samples in the store.
            samples: the split's.
            transform: how a batch is read; training's has the seed of which windows are drawn.

        Raises:
            ConfigError: if draws about abnormal slices are asked for, and it is not known which.
            DataError: if these do not agree with the labels, or a class has no training window.
        """
        view = self.view
        slices = np.array([store.facts(int(row)).shape[0] for row in rows], np.int64)
        abnormal = _abnormal(samples, rows, slices, view.about_abnormal)
        windows = Windows(
            slices, samples.labels, abnormal, view.image_size[0], view.stride, view.least_abnormal
        )
        draws = None
        if isinstance(transform, TrainTransform):
            _check_classes(windows, samples.class_names)
            jitter, seed = transform.augment.slice_jitter, transform.seed
            draws = WindowDraws(view.windows_per_study, jitter, view.about_abnormal, seed)
        return WindowDataset(store, rows, windows, draws, view.black_and_white, transform)

    def mask_form(self, size: int) -> MaskForm:
        """How their masks are kept."""
        return MaskForm(size, self.view.fit, self.view.depth)

    def masked(
        self,
        store: Store,
        masks: Store,
        rows: Integers,
        samples: Samples,
        transform: MaskTransform,
    ) -> MaskedWindows | MaskedStudies:
        """One split with its masks; training sees windows, evaluation whole studies.

        Args:
            store: of all the source's studies.
            masks: of their masks.
            rows: of the split's samples in both.
            samples: the split's.
            transform: how a batch is read; training's has the seed of which windows are drawn.

        Raises:
            DataError: naming a mask of more or fewer slices than its volume.
        """
        view = self.view
        slices = np.array([store.facts(int(row)).shape[0] for row in rows], np.int64)
        for row, count, name in zip(rows, slices, samples.ids, strict=True):
            if (found := masks.facts(int(row)).shape[0]) != count:
                raise DataError(f"the mask of {name!r} has {found} slices, its volume {count}.")
        marked = [_marked(masks.read(int(row))) for row in rows]
        windows = Windows(slices, samples.labels, marked, view.image_size[0], view.stride)
        whole = MaskedStudies(
            store, masks, rows, samples, windows, view.black_and_white, transform, view.fit
        )
        if not isinstance(transform, TrainTransform):
            return whole
        jitter, about = transform.augment.slice_jitter, view.about_marked
        draws = WindowDraws(view.windows_per_study, jitter, about, transform.seed)
        return MaskedWindows(store, rows, windows, draws, view.black_and_white, transform, whole)


def _marked(mask: NDArray[np.uint8]) -> Integers:
    """Slices in which a mask marks anything."""
    known = (mask > 0) & (mask != IGNORED)
    return np.flatnonzero(known.any(axis=(1, 2))).astype(np.int64)


def _abnormal(
    samples: Samples, rows: Integers, slices: Integers, abnormal_fraction: float
) -> list[Integers] | None:
    """Abnormal slices of the usable studies, which must agree with the studies' labels."""
    if samples.abnormal is None:
        if abnormal_fraction:
            raise ConfigError(
                f"data.abnormal_fraction={abnormal_fraction:g} needs to know "
                "which slices are abnormal, and the data do not say it."
            )
        return None
    found: list[Integers] = []
    for row, count, study, label in zip(rows, slices, samples.ids, samples.labels, strict=True):
        abnormal = samples.abnormal(int(row), int(count))
        if samples.measured or not samples.exclusive or len(samples.class_names) != 2:
            held = "one holds" if samples.exclusive else "several may hold"
            raise DataError(
                "abnormal slices go with one label of two classes, and there are "
                f"{len(samples.class_names)}, of which {held}: leave them out."
            )
        if bool(len(abnormal)) != bool(label):
            raise DataError(
                f"study {study!r} is of class {samples.class_names[label]!r}, but has "
                f"{len(abnormal)} abnormal slices."
            )
        found.append(abnormal)
    return found


def _check_classes(windows: Windows, class_names: Sequence[str]) -> None:
    """Demand a window of every class in the training grid.

    Raises:
        DataError: saying what decides it.
    """
    labels = windows.label(windows.grid)
    for number, name in enumerate(class_names):
        if labels.ndim == 1 and not (labels == number).any():
            raise DataError(
                f"no training window of class {name!r}: change data.window_stride="
                f"{windows.stride} or data.min_abnormal_slices={windows.min_abnormal}."
            )
