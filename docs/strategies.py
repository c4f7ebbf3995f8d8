"""Draws `strategies.svg`: what each strategy does with the units of a backbone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from ttl_lightning.tasks.pictures import content

UNITS = ("stem", "block1", "block2", "block3", "block4", "tail")
CUT = 4
"""Units up to the cutoff, block3."""
COLORS = {
    "pretrained, trained": "#0072B2",
    "pretrained, frozen": "#9AA5AE",
    "new and slim, trained": "#E69F00",
    "removed": "none",
    "new head, trained": "#009E73",
}
STRATEGIES = {
    "ftl": ("pretrained, trained", "pretrained, trained"),
    "ffe": ("pretrained, frozen", "pretrained, frozen"),
    "lwft": ("pretrained, frozen", "pretrained, trained"),
    "tf": ("pretrained, trained", "new and slim, trained"),
    "ttl": ("pretrained, trained", "removed"),
}


def figure() -> Figure:
    """A row a strategy, a box a unit."""
    drawn = Figure(figsize=(9, 4.2), layout="constrained")
    axes = drawn.subplots()
    for row, (name, (before, after)) in enumerate(STRATEGIES.items()):
        head = CUT if name == "ttl" else len(UNITS)
        for place in range(len(UNITS)):
            kind = before if place < CUT else after
            if kind == "removed":
                continue
            _box(axes, place, row, COLORS[kind], 0.5 if kind.startswith("new") else 0.8)
        _box(axes, head, row, COLORS["new head, trained"], 0.8)
        axes.text(-0.25, row, name, ha="right", va="center", fontsize=12)
    for place, unit in enumerate((*UNITS, "head")):
        axes.text(place + 0.4, -0.75, unit, ha="center", fontsize=10)
    axes.axvline(CUT - 0.1, color="0.3", linestyle="--", linewidth=1)
    axes.text(CUT - 0.05, len(STRATEGIES) - 0.35, "cutoff=block3", ha="left", fontsize=10)
    axes.set(xlim=(-1, len(UNITS) + 1), ylim=(len(STRATEGIES) - 0.2, -1.1))
    axes.set_axis_off()
    shown = [Patch(color=color, label=name) for name, color in COLORS.items() if color != "none"]
    drawn.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    return drawn


def _box(axes, place: int, row: int, color: str, height: float) -> None:  # noqa: ANN001
    corner = (place, row - height / 2)
    box = FancyBboxPatch(corner, 0.8, height, boxstyle="round,pad=0.02", color=color, linewidth=0)
    axes.add_patch(box)


if __name__ == "__main__":
    Path(__file__).with_name("strategies.svg").write_bytes(content(figure(), "svg"))
