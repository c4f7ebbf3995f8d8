"""Figures of analyses: boxes and curves over the units, and matrices of pairs of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ttl_lightning.interpret.svcca import Floats
from ttl_lightning.tasks.curves import COLORS, tidy

INCHES_A_UNIT = 0.42
HEIGHT_INCHES = 4.4
# More names than these are turned, or they would run into each other.
NAMES_UPRIGHT = 4
# Of more units than these, a matrix shows its values by color alone.
NUMBERED = 20
LEGEND: dict[str, Any] = {
    "fontsize": "small", "loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False,
}  # fmt: skip


def boxes(
    units: Sequence[str],
    series: Mapping[str, Sequence[Floats]],
    lines: Mapping[str, Sequence[float | None]],
    ylabel: str,
) -> Figure:
    """A box a unit and series (quartiles, whiskers to the 5th and 95th percentile), and lines."""
    figure, axes = _figure(units, ylabel)
    width = 0.8 / max(1, len(series))
    for number, (name, spectra) in enumerate(series.items()):
        places = np.arange(len(units)) + (number - (len(series) - 1) / 2) * width
        shown = [(p, s) for p, s in zip(places, spectra, strict=True) if len(s)]
        drawn = axes.boxplot([s for _, s in shown], positions=[p for p, _ in shown],
                             widths=0.85 * width, whis=(5, 95), showfliers=False,
                             patch_artist=True, medianprops={"color": "black"},
                             manage_ticks=False)  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=COLORS[number], alpha=0.6)
        axes.plot([], [], "s", color=COLORS[number], alpha=0.6, label=name)
    _lines(axes, lines, first_color=len(series))
    axes.set_ylim(-0.02, 1.02)
    axes.legend(**LEGEND)
    return figure


def curves(
    units: Sequence[str],
    lines: Mapping[str, Sequence[float | None]],
    ylabel: str,
    *,
    dashed: Mapping[str, Sequence[float | None]] | None = None,
    threshold: float | None = None,
    chosen: str | None = None,
) -> Figure:
    """Lines over the units; a threshold across, and a mark at the unit that was chosen.

    Args:
        units: in network order.
        lines: by name, a value a unit.
        ylabel: what the values are.
        dashed: lines that go with `lines`, in their order and colors.
        threshold: a value.
        chosen: one of the units.
    """
    figure, axes = _figure(units, ylabel)
    _lines(axes, lines, first_color=0)
    _lines(axes, dashed or {}, first_color=0, style="o--")
    if threshold is not None:
        axes.axhline(threshold, color="black", linestyle=":", label=f"threshold {threshold:g}")
    if chosen is not None:
        place = list(units).index(chosen)
        axes.axvline(place, color="grey", linestyle="--", label=f"cut: {chosen}")
    axes.legend(**LEGEND)
    return figure


def matrices(units: Sequence[str], panels: Mapping[str, Floats], label: str) -> Figure:
    """One square a pair of units, a panel for each matrix (len(units), len(units))."""
    side = max(3.4, INCHES_A_UNIT * len(units) + 1.2)
    figure = Figure(figsize=(side * len(panels) + 0.8, side), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, matrix) in zip(grid, panels.items(), strict=True):
        image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
        axes.set_title(title)
        axes.set_xticks(range(len(units)), units, rotation=90)
        axes.set_yticks(range(len(units)), units)
        if len(units) <= NUMBERED:
            for (row, column), value in np.ndenumerate(matrix):
                color = "white" if value < 0.6 else "black"
                text = "" if np.isnan(value) else f"{value:.2f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)
    # below the scale: less alike than chance
    extend = "min" if any((matrix < 0).any() for matrix in panels.values()) else "neither"
    figure.colorbar(image, ax=list(grid), label=label, shrink=0.8, extend=extend)
    return figure


def _figure(units: Sequence[str], ylabel: str) -> tuple[Figure, Axes]:
    width = max(6.4, INCHES_A_UNIT * len(units) + 3.2)
    figure = Figure(figsize=(width, HEIGHT_INCHES), layout="constrained")
    axes: Axes = figure.subplots()
    turned = 90 if len(units) > NAMES_UPRIGHT else 0
    axes.set_xticks(range(len(units)), units, rotation=turned)
    axes.set(xlabel="unit", ylabel=ylabel, xlim=(-0.6, len(units) - 0.4))
    tidy(axes)
    return figure, axes


def _lines(
    axes: Axes, lines: Mapping[str, Sequence[float | None]], first_color: int, style: str = "o-"
) -> None:
    for number, (name, values) in enumerate(lines.items()):
        points = [np.nan if value is None else value for value in values]
        color = COLORS[(first_color + number) % len(COLORS)]
        axes.plot(range(len(points)), points, style, color=color, markersize=4, label=name)
