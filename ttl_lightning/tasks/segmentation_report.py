"""The report of segmentation: which metrics there are, how they are tested and written down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.parts import mean_parts
from ttl_lightning.metrics.predictions import Columns, numbers
from ttl_lightning.metrics.segmentation import MaskScores, intervals
from ttl_lightning.tasks.reports import Described, Metric, PairedTest, TaskReport

# A loss of Dice that is small enough to be outweighed by a smaller model.
MARGIN = 0.02
EXAMPLES = "examples.png"
PIXELS, PREDICTED = "pixels/", "predicted/"


def _columns(table: MaskScores, described: Described) -> Columns:
    """Each metric of each class, and its pixels in the reference and in the prediction."""
    names = described["regions"]
    columns = {
        f"{metric}/{name}": [f"{value:.9g}" for value in of_class]
        for metric, values in table.values.items()
        for name, of_class in zip(names, values.T, strict=True)
    }
    for prefix, counts in ((PIXELS, table.reference), (PREDICTED, table.predicted)):
        for name, of_class in zip(names, counts.T, strict=True):
            columns[prefix + name] = [str(int(count)) for count in of_class]
    return columns


def _read(columns: Columns, described: Described) -> Scored:
    """Dice and Jaccard of each class, side by side, and the reference's pixels for a target."""
    names = [name.removeprefix(PIXELS) for name in columns if name.startswith(PIXELS)]
    del described
    pixels = numbers(columns, [PIXELS + name for name in names], f"{PIXELS}…")
    scores = [f"{metric}/{name}" for metric in ("dice", "jaccard") for name in names]
    return Scored(tuple(columns["id"]), numbers(columns, scores), pixels)


def _mean_overlap(place: int, table: Scored) -> tuple[float, Floats]:
    """The mean over images of an overlap's mean over the classes present, and its parts."""
    count = table.targets.shape[1]
    present = (table.targets > 0).any(axis=0)
    if not present.any():
        raise DataError("no reference of the test split has any class.")
    values = table.scores[:, place * count : (place + 1) * count]
    return mean_parts(np.asarray(values[:, present].mean(axis=1)))


def _intervals(
    table: MaskScores, _: Described, patients: Sequence[str] | None
) -> dict[str, tuple[float, float] | None]:
    return intervals(table, patients)


_overlap = partial(PairedTest, by="each image's own", margin=MARGIN, widest=1.0)

SEGMENTATION = TaskReport(
    name="segmentation",
    metrics=(
        Metric("dice", "Dice", paired=_overlap(partial(_mean_overlap, 0))),
        Metric("jaccard", "Jaccard", paired=_overlap(partial(_mean_overlap, 1))),
        Metric("sensitivity", "sensitivity"),
        Metric("precision", "precision"),
        Metric("hd95", "Hausdorff distance, 95 %", "min"),
        Metric("asd", "average surface distance", "min"),
    ),
    primary="dice",
    reported=("dice", "jaccard"),
    columns=_columns,
    read=_read,
    intervals=_intervals,
    drawn=("dice", "jaccard"),
    pictures={
        EXAMPLES: "the worst, the median and the best test image, with contours of the reference "
        "(lines) and the prediction (dashes)"
    },
    rising=0.02,
)
