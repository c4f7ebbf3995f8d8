"""Figures of one run: ROC, precision-recall, and what happened over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ttl_lightning.metrics.bands import GRID, Band, pr_band, roc_band
from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.metrics.classification import check_predictions, score
from ttl_lightning.metrics.kernel import Bools, Floats, cumulative_counts

# Okabe and Ito's, told apart by the colour-blind as well.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PANEL_INCHES = 4.6
LEGEND_ROW_INCHES = 0.2
# Up to so many entries a legend fits into the axes; more go below them.
LEGEND_INSIDE = 5
# Of more classes than these, bands would hide each other.
MOST_BANDS = 6
LOSSES = ("train/loss", "val/loss")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is drawn beside curves.

    Attributes:
        thresholds: the operating point, by class.
        patients: whom each sample of a split shows, by split, where that is known; bands are drawn
            of the test split.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    patients: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    scores: Floats
    positive: Bools
    label: str
    draws: Sequence[str] | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    lines: list[_Line]

    def colored(self) -> zip[tuple[_Line, str]]:
        return zip(self.lines, _colors(len(self.lines)), strict=True)


def roc_figure(
    predictions: Mapping[str, Predictions],
    task: str,
    class_names: Sequence[str],
    marks: Marks | None = None,
) -> Figure:
    """Draw the ROC curves: binary one a split, otherwise a panel a split and a curve a class.

    Args:
        predictions: by split, in the order to be drawn.
        task: "binary", "multiclass" or "multilabel".
        class_names: one for each column of the probabilities.
        marks: the operating point, and whom samples show; bands are the test split's 95 %.

    Returns:
        A figure for `savefig`; a class without a curve is in the legend, as undefined.
    """

    def draw(axes: Axes, panel: _Panel) -> None:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        for line, color in panel.colored():
            false_rate, true_rate = roc_points(line.scores, line.positive)
            axes.plot(false_rate, true_rate, color=color, label=line.label, linewidth=1.8)
            _band(axes, roc_band, line, color)
            if line.threshold is not None:
                yes = line.scores > line.threshold
                _point(axes, yes[~line.positive].mean(), yes[line.positive].mean(), color)
        _explain(axes, panel)
        axes.set_xlabel("false positive rate (1 − specificity)")
        axes.set_ylabel("true positive rate (sensitivity)")

    return _figure(
        _panels(predictions, task, class_names, "auroc", marks or Marks()), draw, "lower right"
    )


def pr_figure(
    predictions: Mapping[str, Predictions],
    task: str,
    class_names: Sequence[str],
    marks: Marks | None = None,
) -> Figure:
    """Draw the precision-recall curves as `roc_figure` does; dotted lines are the prevalences."""

    def draw(axes: Axes, panel: _Panel) -> None:
        for line, color in panel.colored():
            recall, precision = pr_points(line.scores, line.positive)
            axes.step(recall, precision, where="pre", color=color, label=line.label, linewidth=1.8)
            if len(recall):
                prevalence = float(line.positive.mean())
                axes.axhline(prevalence, color=color, linewidth=1, linestyle=":")
            _band(axes, pr_band, line, color)
            if line.threshold is not None and (line.scores > line.threshold).any():
                yes = line.scores > line.threshold
                _point(axes, yes[line.positive].mean(), line.positive[yes].mean(), color)
        axes.plot([], [], color="0.4", linewidth=1, linestyle=":", label="prevalence")
        _explain(axes, panel)
        axes.set_xlabel("recall (sensitivity)")
        axes.set_ylabel("precision")

    return _figure(
        _panels(predictions, task, class_names, "auprc", marks or Marks()), draw, "lower left"
    )


def roc_points(scores: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """False and true positive rates, from (0, 0) to (1, 1); empty unless both classes are there."""
    if positive.all() or not positive.any():
        return np.zeros(0), np.zeros(0)
    true, false, _ = cumulative_counts(scores, positive, np.ones((1, len(scores))))
    return np.append(0.0, false[0] / false[0, -1]), np.append(0.0, true[0] / true[0, -1])


def pr_points(scores: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """Recall and precision, from (0, 1) on; empty unless both classes are there."""
    if positive.all() or not positive.any():
        return np.zeros(0), np.zeros(0)
    true, false, _ = cumulative_counts(scores, positive, np.ones((1, len(scores))))
    precision = true[0] / (true[0] + false[0])
    return np.append(0.0, true[0] / true[0, -1]), np.append(1.0, precision)


def training_curves(
    history: Sequence[Mapping[str, object]],
    metrics: Sequence[str],
    best_epoch: int | None = None,
    *,
    columns: int = 3,
) -> Figure:
    """Draw losses, validation metrics and, where logged, learning rates over the epochs.

    Args:
        history: rows as CSVLogger writes them: "epoch" and some of the keys. What is missing, empty
            or no number is passed over, so an epoch may have several rows.
        metrics: names of those of validation to draw.
        best_epoch: to be marked.
        columns: panels side by side.
    """
    table = _series(history)
    groups = {
        "loss": [key for key in LOSSES if key in table],
        "validation metric": [key for name in metrics if (key := f"val/{name}") in table],
        "learning rate": sorted(key for key in table if key.startswith("lr-")),
    }
    shown = {title: keys for title, keys in groups.items() if keys}
    columns = max(1, min(columns, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(PANEL_INCHES * columns, 3.4 * rows), layout="constrained")
    for place, (title, keys) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for color, key in zip(_colors(len(keys)), keys, strict=True):
            epochs, values = table[key]
            name = key.removeprefix("lr-").removeprefix("val/" if title != "loss" else "")
            axes.plot(epochs, values, color=color, label=name, linewidth=1.8, marker="o", ms=3)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="0.4", linewidth=1, linestyle=":", label="best epoch")
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_yscale("log" if title == "learning rate" else "linear")
        tidy(axes)
        axes.legend(frameon=False, fontsize=8)
    if not shown:
        figure.text(0.5, 0.5, "nothing was logged", ha="center", va="center")
    return figure


def _band(axes: Axes, band: Callable[..., Band | None], line: _Line, color: str) -> None:
    """Where 95 % of the curves of other samples lie, of lines that ask for it."""
    if line.draws is None:
        return
    if found := band(line.scores, line.positive, line.draws or None):
        axes.fill_between(GRID, *found, color=color, alpha=0.15, linewidth=0)


def _point(axes: Axes, across: float, up: float, color: str) -> None:
    """The operating point on a curve."""
    axes.plot([across], [up], marker="o", ms=7, mfc=color, mec="white", mew=1.2, zorder=4)


def _explain(axes: Axes, panel: _Panel) -> None:
    """What is beside a panel's lines, for its legend."""
    if any(line.draws is not None for line in panel.lines):
        axes.fill_between([], [], [], color="0.4", alpha=0.2, linewidth=0, label="95 % of others")
    if any(line.threshold is not None for line in panel.lines):
        axes.plot([], [], marker="o", ms=6, color="0.4", linestyle="", label="operating point")


def _panels(
    predictions: Mapping[str, Predictions],
    task: str,
    class_names: Sequence[str],
    metric: str,
    marks: Marks,
) -> list[_Panel]:
    panels = []
    for split, table in predictions.items():
        values = score(table.probabilities, table.labels, task, class_names).values
        summary = f"{metric.upper()} {_number(values[metric])}"
        if task == "binary":
            label = f"{split}: {summary} (n = {len(table.ids)})"
            lines = _lines(table, task, {1: label}, class_names, marks, split)
            panels.append(_Panel("", lines))
        else:
            labels = {
                index: f"{name}: {_number(values[f'{metric}/{name}'])}"
                for index, name in enumerate(class_names)
            }
            title = f"{split}: mean {summary} (n = {len(table.ids)})"
            lines = _lines(table, task, labels, class_names, marks, split)
            panels.append(_Panel(title, lines))
    if task == "binary":
        return [_Panel("", [line for panel in panels for line in panel.lines])]
    return panels


def _lines(
    table: Predictions,
    task: str,
    labels: Mapping[int, str],
    class_names: Sequence[str],
    marks: Marks,
    split: str,
) -> list[_Line]:
    targets = check_predictions(table.probabilities, table.labels, task)
    usable = np.isfinite(table.probabilities).all()
    lines = []
    for index, label in labels.items():
        known = ~np.isnan(targets[:, index]) & usable
        positive = targets[known, index] == 1
        several = f" ({positive.sum()} of {len(positive)})" if task != "binary" else ""
        scores = table.probabilities[known, index]
        patients = np.asarray(marks.patients.get(split, ()), np.str_)
        drawn = patients[known].tolist() if len(patients) else []
        both = positive.any() and not positive.all()
        at = marks.thresholds.get(class_names[index]) if both else None
        own = (drawn, at) if split == "test" and len(labels) <= MOST_BANDS else (None, at)
        lines.append(_Line(scores, positive, label + several, *own))
    return lines


def _figure(
    panels: Sequence[_Panel],
    draw: Callable[[Axes, _Panel], None],
    corner: Literal["lower right", "lower left"],
) -> Figure:
    """The panels side by side, from 0 to 1 along both axes, each with its legend."""
    rows = max((len(panel.lines) for panel in panels), default=0)
    width, height = PANEL_INCHES, PANEL_INCHES
    if rows > LEGEND_INSIDE:
        width, height = 1.15 * width, height + LEGEND_ROW_INCHES * (rows // 2 + 3)
    size = (width * max(len(panels), 1), height)
    figure = Figure(figsize=size, layout="constrained")
    for column, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), column)
        draw(axes, panel)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_title(panel.title, fontsize=10)
        tidy(axes)
        if len(panel.lines) > LEGEND_INSIDE:
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=8
            )
        elif panel.lines:
            axes.legend(loc=corner, fontsize=9, framealpha=0.85, edgecolor="none")
    return figure


def tidy(axes: Axes) -> None:
    """A light grid behind what is drawn, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _colors(count: int) -> list[str]:
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [to_hex(color) for color in colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _series(history: Sequence[Mapping[str, object]]) -> dict[str, tuple[list[float], list[float]]]:
    table: dict[str, tuple[list[float], list[float]]] = {}
    for row in history:
        epoch = _finite(row.get("epoch"))
        for key, cell in row.items():
            value = _finite(cell)
            if epoch is not None and value is not None:
                epochs, values = table.setdefault(key, ([], []))
                epochs.append(epoch)
                values.append(value)
    return table


def _finite(cell: object) -> float | None:
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
