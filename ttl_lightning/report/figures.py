"""What a cutoff gains and costs, drawn from the results of several runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ttl_lightning.errors import one_line
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.report.methods import Method, Span, cheaper
from ttl_lightning.tasks.curves import tidy

OTHER_COLORS = ("#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
COST_NAMES = {"params": "parameters", "latency_ratio": "CPU latency (of the whole network's)"}
PANEL_WIDTH, PANEL_HEIGHT = 5.0, 3.8
# Letters in a row of the legend, by panels, and in a name that a figure can hold.
LEGEND_LETTERS, NAME_LETTERS = 48, 48
# These come after the strategies.
CHOSEN, FRONT = "chosen on validation", "Pareto front"


@dataclass(frozen=True, slots=True)
class Series:
    """The methods of one strategy and variant, and how they are drawn."""

    label: str
    color: str
    marker: str
    methods: tuple[Method, ...]


def choice_figure(
    methods: Sequence[Method], chosen: Sequence[Method], splits: Sequence[str] = ("val", "test")
) -> Figure:
    """Draw the primary metric against the cutoff: validation, where they are chosen, beside test.

    Args:
        methods: of one group, in its order; bands span the seeds, from lowest to highest.
        chosen: those of them to be ringed.
        splits: a panel each.
    """
    figure, panels = _figure(len(splits))
    primary = methods[0].report.primary
    for axes, metric in zip(panels, (f"{split}/{primary}" for split in splits), strict=True):
        for series in _series(methods):
            _against_cutoff(axes, series, metric)
        cut = [method for method in chosen if method.cutoff]
        _ring(axes, [(method.place, mean) for method in cut if (mean := method.mean(metric))])
        names = _tick_names(method for method in methods if method.values(metric))
        axes.set_xticks([*names], [*names.values()], rotation=45, ha="right")
        if len(names) > 20:
            axes.tick_params(axis="x", labelsize=7)
        axes.set(xlabel="cutoff", ylabel=_plain(methods[0].report.label(metric)))
        tidy(axes)
    _legend(figure, panels[0], len(splits))
    return figure


def tradeoff_figure(
    methods: Sequence[Method], chosen: Sequence[Method], costs: Sequence[str] = tuple(COST_NAMES)
) -> Figure:
    """Draw the primary metric against parameters and latency, with the Pareto front of the means.

    It is that of the test split.

    Args:
        methods: of one data set and one backbone; bars span the seeds, from lowest to highest, and
            the noise of latencies.
        chosen: those of them to be ringed.
        costs: of `COST_NAMES`, a panel each.
    """
    metric = f"test/{methods[0].report.primary}"
    figure, panels = _figure(len(costs))
    for axes, cost in zip(panels, costs, strict=True):
        for series in _series(methods):
            _against_cost(axes, series, cost, metric)
        _front(axes, methods, cost, metric)
        _ring(axes, [point for point, method in _points(chosen, cost, metric) if method.cutoff])
        axes.margins(x=0.1)
        axes.set(xlabel=COST_NAMES[cost], ylabel=_plain(methods[0].report.label(metric)))
        tidy(axes)
        if cost == "params":
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0)
    _legend(figure, panels[0], len(costs))
    return figure


def _figure(count: int) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side, whose vertical axes are one."""
    figure = Figure(figsize=(PANEL_WIDTH * count, PANEL_HEIGHT), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes in panels:
        axes.yaxis.set_tick_params(labelleft=True)
    return figure, panels


def pareto(points: Sequence[tuple[Span, float]]) -> list[int]:
    """Which (cost, score) no other point beats, by ascending cost; one of equal points.

    A point is beaten by a better score at a cost that is not higher beyond noise, or by an equal
    score at a lower cost.
    """
    order = sorted(range(len(points)), key=lambda index: (-points[index][1], points[index][0]))
    front: list[int] = []
    for index in order:
        if all(cheaper(points[index][0], points[better][0]) for better in front):
            front.append(index)
    return front[::-1]


def _points(
    methods: Iterable[Method], cost: str, metric: str
) -> list[tuple[tuple[float, float], Method]]:
    found = [(method.cost(cost), method.mean(metric), method) for method in methods]
    return [((x, y), method) for x, y, method in found if x is not None and y is not None]


def _front(axes: Axes, methods: Sequence[Method], cost: str, metric: str) -> None:
    """Draw the front, with the cutoff's name at each of its points."""
    points = _points(methods, cost, metric)
    spans = [
        (span, m.report.metric(metric).sign * y) for (_, y), m in points if (span := m.span(cost))
    ]
    front = [points[index] for index in pareto(spans)]
    if front:
        axes.step(*zip(*(point for point, _ in front), strict=True), where="post", color="0.35",
                  linewidth=1, linestyle=":", label=FRONT, zorder=1)  # fmt: skip
    for point, method in front:
        axes.annotate(_plain(method.cutoff or ""), point, (0, 9), textcoords="offset points",
                      ha="center", fontsize=7, color="0.25")  # fmt: skip


def _series(methods: Sequence[Method]) -> list[Series]:
    others = [name for name in dict.fromkeys(m.strategy for m in methods) if name not in STRATEGIES]
    colors = {name: OTHER_COLORS[k % len(OTHER_COLORS)] for k, name in enumerate(others)}
    colors |= {name: strategy.color for name, strategy in STRATEGIES.items()}
    variants: Counter[str] = Counter()
    drawn = []
    for (strategy, _), found in groupby(methods, lambda method: method.kind):
        own = tuple(found)
        marker = MARKERS[variants[strategy] % len(MARKERS)]
        variants[strategy] += 1
        drawn.append(Series(_plain(own[0].label), colors[strategy], marker, own))
    return drawn


def _against_cutoff(axes: Axes, series: Series, metric: str) -> None:
    color, label = series.color, series.label
    known = [(m, values) for m in series.methods if (values := m.values(metric))]
    for values in (values for method, values in known if not method.cutoff):
        axes.axhline(fmean(values), color=color, label=label, linewidth=1.6, linestyle="--")
        axes.axhspan(min(values), max(values), color=color, alpha=0.12, linewidth=0)
    if cut := [(m.place, fmean(v), min(v), max(v)) for m, v in known if m.cutoff]:
        places, means, low, high = zip(*cut, strict=True)
        axes.plot(
            places, means, color=color, label=label, linewidth=1.8, marker=series.marker, ms=5
        )
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)


def _against_cost(axes: Axes, series: Series, cost: str, metric: str) -> None:
    label: str | None = series.label
    for method in series.methods:
        values, size, mean = method.values(metric), method.cost(cost), method.mean(metric)
        if size is not None and mean is not None and (span := method.span(cost)):
            low, high = span
            # a mean of equal values may be rounded to beside them
            spread = [[max(mean - min(values), 0.0)], [max(max(values) - mean, 0.0)]]
            noise = [[size - low], [high - size]] if low < high else None
            axes.errorbar([size], [mean], spread, noise, color=series.color, marker=series.marker,
                          linestyle="none", ms=6, capsize=3, elinewidth=1, label=label)  # fmt: skip
            label = None


def _ring(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), linestyle="none", marker="o", ms=12, mfc="none",
                  mec="black", mew=1.4, label=CHOSEN, zorder=4)  # fmt: skip


def _legend(figure: Figure, axes: Axes, panels: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    names = sorted(shown, key=(CHOSEN, FRONT).count)
    letters = LEGEND_LETTERS * panels
    columns = max(1, min(4, letters // max(map(len, names), default=1)))
    figure.legend([shown[name] for name in names], names, loc="outside upper center",
                  ncols=columns, frameon=False, fontsize=9)  # fmt: skip


def _tick_names(methods: Iterable[Method]) -> dict[int, str]:
    """Each cutoff by its number: the block's name where one unit of it alone is a cutoff."""
    names = {m.place: m.cutoff for m in methods if m.cutoff and m.place}
    blocks = [name.partition(".")[0] for name in names.values()]
    return {
        place: _plain(block if blocks.count(block := name.partition(".")[0]) == 1 else name)
        for place, name in sorted(names.items())
    }


def _plain(text: str) -> str:
    """The text, cut short, with the sign escaped that would begin a formula."""
    line = one_line(text)
    short = line if len(line) <= NAME_LETTERS else f"{line[: NAME_LETTERS - 1]}…"
    return short.replace("$", r"\$")
