"""Every strategy at its best on several data sets: the README's table and figure, from sweeps.

    python -m ttl_lightning -m experiment=compare name=pneumonia data=npz data.path=…
    python benchmarks/comparison.py multirun/pneumonia … --figure docs/comparison.png

Each sweep's report is written anew; what is printed are its own sentence and table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from smoke import small_sweep

from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.report.collect import collect
from ttl_lightning.report.compare import choose
from ttl_lightning.report.figures import MARKERS
from ttl_lightning.report.methods import Method, group
from ttl_lightning.report.sweep import write

METRIC = "test/auroc"


def main() -> None:
    """Print every sweep's table, and draw them side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweeps", nargs="*", type=Path)
    parser.add_argument("--smoke", action="store_true", help="on a sweep of three runs")
    parser.add_argument("--titles", nargs="*", default=[], help="of the panels, in order")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if not options.smoke:
        compare(options.sweeps, options.titles, options.figure)
        return
    with small_sweep(["strategy=ftl"], ["strategy=ttl", "cutoff=block2"]) as sweep:
        compare([sweep], [], sweep / "comparison.png")


def compare(sweeps: Sequence[Path], titles: Sequence[str], figure: Path | None) -> None:
    """Print the tables, and draw the figure if it has a place."""
    panels: list[tuple[str, list[Method]]] = []
    for place, folder in enumerate(sweeps):
        summary = write(folder)
        for headline, (title, table) in zip(summary.headlines, summary.tables, strict=True):
            print(f"### {folder.name}: {title}\n\n{headline}\n\n{table.markdown()}\n")
        title = titles[place] if place < len(titles) else folder.name
        panels += [(title, methods) for methods in chosen(folder)]
    if figure:
        draw(panels).savefig(figure, dpi=120)


def chosen(folder: Path) -> list[list[Method]]:
    """Every strategy at its choice, by data set and backbone."""
    sweep = collect(folder)
    return [
        [choice.method for choice in choose(found, sweep.searches)]
        for found in group(sweep.having("completed"))
    ]


def draw(panels: Sequence[tuple[str, list[Method]]]) -> Figure:
    """Test AUROC against parameters: means, and ranges over seeds; a panel a data set."""
    figure = Figure(figsize=(3.6 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, (panel, (title, methods)) in enumerate(zip(axes, panels, strict=True)):
        for method in methods:
            _point(panel, method)
        panel.set(title=title, xscale="log", xlabel="parameters")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(visible=True, color="0.92", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
        if not place:
            panel.set_ylabel("test AUROC")
    shown = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _point(axes: Axes, method: Method) -> None:
    values, mean, params = method.values(METRIC), method.mean(METRIC), method.cost("params")
    if mean is None or params is None:
        return
    axes.errorbar(
        [params],
        [mean],
        [[mean - min(values)], [max(values) - mean]],
        color=STRATEGIES[method.strategy].color,
        marker=MARKERS[[*reversed(STRATEGIES)].index(method.strategy)],
        linestyle="none",
        capsize=3,
        label=STRATEGIES[method.strategy].label,
    )


if __name__ == "__main__":
    main()
