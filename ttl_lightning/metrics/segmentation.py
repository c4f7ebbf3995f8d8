"""How well masks agree: image by image, then the mean over images, of each class and of all.

Where a class is in neither mask, they agree (1); where it is in one alone, Dice and Jaccard are 0.
A ratio without a denominator and the distance to a surface that is not there are undefined: such
images are left out of that mean, and counted.

Source: Maier-Hein, Reinke et al., "Metrics reloaded", Nature Methods 21 (2024) 195-212, for means
    over images and the rules for empty masks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from ttl_lightning.metrics.bootstrap import unique_numbers
from ttl_lightning.metrics.kernel import Bools, Floats
from ttl_lightning.metrics.scores import Scores

OVERLAPS = ("dice", "jaccard", "sensitivity", "precision")
DISTANCES = ("hd95", "asd")
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class MaskScores:
    """A split's masks beside their references, sorted by sample id.

    Attributes:
        ids: position in the split, (n,).
        values: each image's metrics by name, NaN where undefined, (n, classes).
        reference: pixels of each class in the reference, (n, classes).
        predicted: likewise in the prediction.
        measured: whether an image's distances are in mm, and not in pixels, (n,).
    """

    ids: npt.NDArray[np.int64]
    values: Mapping[str, Floats]
    reference: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    measured: Bools

    @property
    def present(self) -> Bools:
        """Which classes some reference has, (classes,)."""
        return np.asarray((self.reference > 0).any(axis=0))


def overlaps(predicted: Bools, reference: Bools) -> dict[str, Floats]:
    """Dice, Jaccard, sensitivity and precision of one image.

    Args:
        predicted: (classes, *spatial).
        reference: likewise.

    Returns:
        (classes,) a metric, NaN where undefined.
    """
    space = tuple(range(1, predicted.ndim))
    both = (predicted & reference).sum(axis=space).astype(np.float64)
    ours, theirs = (m.sum(axis=space).astype(np.float64) for m in (predicted, reference))
    neither = (ours + theirs) == 0
    with np.errstate(invalid="ignore"):
        return {
            "dice": np.where(neither, 1.0, 2 * both / (ours + theirs)),
            "jaccard": np.where(neither, 1.0, both / (ours + theirs - both)),
            "sensitivity": both / theirs,
            "precision": both / ours,
        }


def distances(
    predicted: Bools, reference: Bools, spacing: Sequence[float] | None = None
) -> dict[str, Floats]:
    """95 % Hausdorff distance and average symmetric surface distance of one image, by MONAI.

    Args:
        predicted: (classes, *spatial).
        reference: likewise.
        spacing: from one pixel to the next along each axis, in mm; None: distances are in pixels.

    Returns:
        (classes,) a metric, NaN where a mask is empty.
    """
    import torch  # not where tables are read
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    found = {name: np.full(len(predicted), np.nan) for name in DISTANCES}
    space = tuple(range(1, predicted.ndim))
    there = np.flatnonzero(predicted.any(axis=space) & reference.any(axis=space))
    for number in there:
        # surfaces are looked for where one of the masks is, which gives the same in less time
        box = _around(predicted[number] | reference[number])
        one, other = (torch.from_numpy(m[number][box][None, None]) for m in (predicted, reference))
        common: dict[str, Any] = {"include_background": True, "spacing": spacing and list(spacing)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the libraries that it would rather use
            hd95 = compute_hausdorff_distance(one, other, percentile=95, **common)
            asd = compute_average_surface_distance(one, other, symmetric=True, **common)
        found["hd95"][number], found["asd"][number] = hd95.item(), asd.item()
    return found


def _around(mask: Bools) -> tuple[slice, ...]:
    """The smallest box that holds a mask, and a pixel more on every side, where there is one."""
    sides = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask.any(axis=others))
        sides.append(slice(max(held[0] - 1, 0), held[-1] + 2))
    return tuple(sides)


def score(table: MaskScores, names: Sequence[str]) -> Scores:
    """Every metric of each class, `dice/lung`, and its mean over the classes present, `dice`."""
    values: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    for metric, column in table.values.items():
        means = []
        for name, of_class, present in zip(names, column.T, table.present, strict=True):
            key, defined = f"{metric}/{name}", np.isfinite(of_class)
            values[key] = float(of_class[defined].mean()) if present and defined.any() else None
            if not present:
                notes[key] = "no reference has this class"
            elif not defined.any():
                notes[key] = "it is undefined in every image"
            means.append(values[key])
        known = [mean for mean in means if mean is not None]
        values[metric] = float(np.mean(known)) if known else None
        if not known:
            notes[metric] = "no reference has any class, or it is undefined in every image"
        if metric in DISTANCES:
            notes[f"{metric}/unit"] = _unit(table.measured)
        lost = int((~np.isfinite(column[:, table.present])).sum())
        if known and lost:
            notes[f"{metric}/undefined"] = (
                f"undefined in {lost} of {column[:, table.present].size} images and classes, whose "
                "reference or prediction is empty"
            )
    return Scores(values, notes)


def _unit(measured: Bools) -> str:
    count = int(measured.sum())
    if 0 < count < len(measured):
        return f"in mm in {count} images and in pixels in {len(measured) - count} without a spacing"
    return "in mm" if count else "in pixels"


def intervals(
    table: MaskScores, patients: Sequence[str] | None = None
) -> dict[str, tuple[float, float] | None]:
    """95 % interval of each metric's mean over images, found by drawing images anew.

    Args:
        table: the split's.
        patients: whom each image shows; all images of a patient are drawn together.

    Returns:
        (low, high); None with fewer than two images or patients where it is defined.

    Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987) 171-185.
    """
    groups = np.arange(len(table.ids)) if patients is None else unique_numbers(patients)
    return {
        metric: _interval(column[:, table.present], groups)
        for metric, column in table.values.items()
    }


def _interval(values: Floats, groups: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    defined = np.isfinite(values).any(axis=1)
    if not defined.any():
        return None
    means, groups = np.nanmean(values[defined], axis=1), groups[defined]
    sums, counts = np.bincount(groups, means), np.bincount(groups).astype(np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(sums) < 2:
        return None
    if np.ptp(sums / counts) == 0:
        return float(means[0]), float(means[0])
    found = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        n_resamples=RESAMPLES,
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
