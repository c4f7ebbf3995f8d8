"""The worst, the median and the best image of a segmentation, with contours of both masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ttl_lightning.metrics.kernel import Bools, Floats
from ttl_lightning.metrics.segmentation import MaskScores
from ttl_lightning.tasks.curves import COLORS, PANEL_INCHES

WORDS = ("worst", "median", "best")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One image, or of a volume the slice in which the reference marks most.

    Attributes:
        title: of its panel.
        image: (H, W), any range.
        reference: (regions, H, W).
        predicted: likewise.
    """

    title: str
    image: npt.NDArray[np.float32]
    reference: Bools
    predicted: Bools


def chosen(table: MaskScores) -> dict[int, str]:
    """What is said of each sample that is shown, by its number: of the Dice of classes present."""
    dice: Floats = table.values["dice"][:, table.present].mean(axis=1)
    if not table.present.any():
        return {}
    order = np.argsort(dice, kind="stable")
    places = dict.fromkeys((0, len(order) // 2, len(order) - 1))
    words = WORDS if len(places) == len(WORDS) else WORDS[: len(places)]
    return {
        int(table.ids[order[place]]): f"{word}, Dice {dice[order[place]]:.3f}"
        for place, word in zip(places, words, strict=True)
    }


def examples_figure(examples: Sequence[Example], regions: Sequence[str]) -> Figure:
    """A panel an example; lines are the reference's, dashes the prediction's."""
    figure = Figure(
        figsize=(PANEL_INCHES * max(len(examples), 1), PANEL_INCHES + 0.4), layout="constrained"
    )
    panels = figure.subplots(1, max(len(examples), 1), squeeze=False)[0]
    for axes, example in zip(panels, examples, strict=False):
        axes.imshow(example.image, cmap="gray")
        axes.set(title=example.title, xticks=[], yticks=[])
        for number in range(len(regions)):
            color = COLORS[number % len(COLORS)]
            _outline(axes, example.reference[number], color, "solid")
            _outline(axes, example.predicted[number], color, "dashed")
    entries = [
        Line2D([], [], color=COLORS[number % len(COLORS)], label=name)
        for number, name in enumerate(regions)
    ]
    entries += [
        Line2D([], [], color="0.4", linestyle="solid", label="reference"),
        Line2D([], [], color="0.4", linestyle="dashed", label="prediction"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=math.ceil(len(entries) / 2))
    return figure


def _outline(axes: Axes, mask: Bools, color: str, style: str) -> None:
    if mask.any() and not mask.all():  # else there is none
        axes.contour(mask.astype(float), [0.5], colors=[color], linestyles=style, linewidths=1.2)
