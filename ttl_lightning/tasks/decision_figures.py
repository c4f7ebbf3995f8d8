"""What a classifier decides, and whether its probabilities are true: counts and reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ttl_lightning.metrics.calibration import scaled
from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.metrics.kernel import ECE_BINS, Bools, Floats
from ttl_lightning.metrics.operating import HALF
from ttl_lightning.tasks.curves import COLORS, PANEL_INCHES, tidy

Counts = npt.NDArray[np.int64]
# Of more classes than these, colours alone tell the counts.
NUMBERED = 20
SQUARE_INCHES, COLUMNS = 2.2, 5
NAME_LETTERS = 18
YES_NO = ("no", "yes")


def confusion_figure(
    table: Predictions, task: str, class_names: Sequence[str], thresholds: Mapping[str, float]
) -> Figure:
    """Counts of true and decided classes, coloured by their share of the true class.

    Binary: at 0.5 and, where there is one, at the operating point. Multilabel: a square a label.

    Args:
        table: the test split's.
        task: "binary", "multiclass" or "multilabel".
        class_names: one for each column of the probabilities.
        thresholds: what a probability must be above, by class.
    """
    squares = confusions(table, task, class_names, thresholds)
    columns = min(len(squares), COLUMNS)
    rows = math.ceil(len(squares) / columns)
    names = YES_NO if task == "multilabel" else class_names
    side = max(SQUARE_INCHES, 1.2 + 0.42 * len(names))
    figure = Figure(figsize=(side * columns + 1.1, (side + 0.35) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(squares) :]:
        axes.set_axis_off()
    for axes, (title, counts) in zip(panels, squares.items(), strict=False):
        image = _square(axes, counts, names)
        axes.set_title(title, fontsize=9)
    figure.colorbar(image, ax=list(panels), label="share of the true class", shrink=0.8)
    return figure


def confusions(
    table: Predictions, task: str, class_names: Sequence[str], thresholds: Mapping[str, float]
) -> dict[str, Counts]:
    """Counts (true, decided) by what they are of; labels that are not known count nowhere."""
    found = {}
    if task == "multiclass":
        pairs = table.labels, table.probabilities.argmax(axis=1)
        return {f"likeliest of {len(class_names)}": _counted(*pairs, len(class_names))}
    if task == "binary":
        scores, positive = table.probabilities[:, 1], table.labels == 1
        at = {HALF, *([thresholds[class_names[1]]] if class_names[1] in thresholds else [])}
        for threshold in sorted(at, key=lambda value: value != HALF):
            word = "" if threshold == HALF else ", the operating point"
            found[f"above {threshold:.3g}{word}"] = _counted(positive, scores > threshold, 2)
        return found
    for place, name in enumerate(class_names):
        targets, at_one = table.labels[:, place], thresholds.get(name, HALF)
        known = ~np.isnan(targets)
        decided = table.probabilities[known, place] > at_one
        title = f"{_short(name)}, above {at_one:.3g}"
        found[title] = _counted(targets[known] == 1, decided, 2)
    return found


def _counted(true: npt.NDArray[np.generic], decided: npt.NDArray[np.generic], count: int) -> Counts:
    found = np.zeros((count, count), np.int64)
    np.add.at(found, (true.astype(np.int64), decided.astype(np.int64)), 1)
    return found


def _square(axes: Axes, counts: Counts, names: Sequence[str]) -> AxesImage:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places, shown = range(len(names)), [_short(name) for name in names]
    axes.set_xticks(places, shown, rotation=90 if len(names) > 3 else 0, fontsize=8)
    axes.set_yticks(places, shown, fontsize=8)
    axes.set_xlabel("decided", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    if len(names) <= NUMBERED:
        for (row, column), value in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{value}", ha="center", va="center", color=color, fontsize=8)
    return image


def reliability_figure(table: Predictions, task: str, temperature: float | None) -> Figure:
    """How often what a probability speaks of comes true, before and after temperature scaling.

    Of the positive class (binary), the likeliest class (multiclass), or all labels together.

    Args:
        table: the test split's.
        task: "binary", "multiclass" or "multilabel".
        temperature: fitted on validation; None: there is none.
    """
    figure = Figure(figsize=(PANEL_INCHES, PANEL_INCHES + 1), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="as sure as right")
    versions = {"as it is": table.probabilities}
    if temperature is not None:
        after = scaled(table.probabilities, temperature, task)
        versions[f"temperature {temperature:.2f}"] = after
    for color, (label, probabilities) in zip(COLORS, versions.items(), strict=False):
        confidence, correct = spoken_of(probabilities, table, task)
        means, shares, counts = reliability(confidence, correct)
        axes.plot(means, shares, color=color, marker="o", ms=4, linewidth=1.6, label=label)
        edges = np.linspace(0, 1, ECE_BINS + 1)
        below.stairs(counts, edges, color=color, linewidth=1.4)
    axes.set(ylabel="share that came true", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    below.set(xlabel="probability", ylabel="samples" if task != "multilabel" else "labels")
    for each in (axes, below):
        tidy(each)
    axes.legend(loc="upper left", fontsize=9, framealpha=0.85, edgecolor="none")
    return figure


def spoken_of(probabilities: Floats, table: Predictions, task: str) -> tuple[Floats, Bools]:
    """Probabilities, and whether what each speaks of came true."""
    if task == "multiclass":
        return probabilities.max(axis=1), probabilities.argmax(axis=1) == table.labels
    if task == "binary":
        return probabilities[:, 1], table.labels == 1
    known = ~np.isnan(table.labels)
    return probabilities[known], table.labels[known] == 1


def reliability(confidence: Floats, correct: Bools) -> tuple[Floats, Floats, Counts]:
    """By bin of the calibration error: mean confidence and share correct, and the samples' number.

    The first two are of bins with samples, the last of all.
    """
    inner_edges = np.linspace(0.0, 1.0, ECE_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges)
    counts = np.bincount(bins, minlength=ECE_BINS)
    there = counts > 0
    sums = (np.bincount(bins, values, ECE_BINS)[there] for values in (confidence, correct))
    means, shares = (total / counts[there] for total in sums)
    return means, shares, counts


def _short(name: str) -> str:
    return name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}…"
