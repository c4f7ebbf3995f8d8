"""What a cutoff gains and costs, drawn from the results of several runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ttl_lightning.results import RunResult

COLORS = {"ttl": "#0072b2", "tf": "#009e73", "lwft": "#cc79a7", "ftl": "#d55e00", "ffe": "#666666"}
LABELS = {
    "ttl": "TTL (truncated)",
    "tf": "TransFusion",
    "lwft": "layer-wise",
    "ftl": "full finetuning",
    "ffe": "fixed features",
}

Runs = dict[str, list[RunResult]]


def cutoff_figure(results: Iterable[RunResult], metric: str = "test/auroc") -> Figure:
    """Draw a metric against the cutoff, and against the number of parameters.

    Args:
        results: of one data set and one backbone; several seeds of a setting are averaged, with
            their range.
        metric: a key of `RunResult.metrics`; runs where it is undefined are left out.
    """
    by_strategy: dict[str, Runs] = defaultdict(lambda: defaultdict(list))
    kept = [run for run in results if run.metrics.get(metric) is not None]
    for run in sorted(kept, key=lambda run: run.cutoff_index or 0):
        by_strategy[run.strategy][run.cutoff or ""].append(run)
    names = _tick_names(kept)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for strategy, runs in by_strategy.items():
        _against_cutoff(left, strategy, runs, metric)
        _against_parameters(right, strategy, runs, metric)
    left.set_xticks([*names], [*names.values()], rotation=45, ha="right")
    left.set(xlabel="cutoff", ylabel=metric.replace("/", " ").replace("auroc", "AUROC"))
    right.set(xlabel="parameters", xscale="log")
    for axes in (left, right):
        axes.grid(visible=True, color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False
    )
    return figure


def _tick_names(runs: Iterable[RunResult]) -> dict[int, str]:
    """Each cutoff by its number: the block's name where one unit of it alone is a cutoff."""
    names = {run.cutoff_index: run.cutoff for run in runs if run.cutoff and run.cutoff_index}
    blocks = [name.partition(".")[0] for name in names.values()]
    return {
        number: block if blocks.count(block := name.partition(".")[0]) == 1 else name
        for number, name in sorted(names.items())
    }


def _values(runs: list[RunResult], metric: str) -> list[float]:
    return [float(value) for run in runs if (value := run.metrics[metric]) is not None]


def _against_cutoff(axes: Axes, strategy: str, runs: Runs, metric: str) -> None:
    color, label = COLORS.get(strategy, "black"), LABELS.get(strategy, strategy)
    uncut = _values(runs.get("", []), metric)
    if uncut:
        axes.axhline(
            statistics.mean(uncut), color=color, label=label, linewidth=1.6, linestyle="--"
        )
        axes.axhspan(min(uncut), max(uncut), color=color, alpha=0.12, linewidth=0)
    cut = [
        (group[0].cutoff_index or 0, _values(group, metric)) for name, group in runs.items() if name
    ]
    if cut:
        places = [place for place, _ in cut]
        means = [statistics.mean(values) for _, values in cut]
        axes.plot(places, means, color=color, label=label, linewidth=1.8, marker="o", ms=5)
        low, high = [min(values) for _, values in cut], [max(values) for _, values in cut]
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)


def _against_parameters(axes: Axes, strategy: str, runs: Runs, metric: str) -> None:
    for group in runs.values():
        values, size = _values(group, metric), group[0].complexity["params"]
        spread = [[statistics.mean(values) - min(values)], [max(values) - statistics.mean(values)]]
        axes.errorbar(
            [size],
            [statistics.mean(values)],
            spread,
            color=COLORS.get(strategy, "black"),
            marker="o",
            ms=6,
            capsize=3,
        )
