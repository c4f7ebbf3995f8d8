"""Runs that differ only in seed or fold, as one method; the methods of one data and backbone."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ttl_lightning.config.identity import bears
from ttl_lightning.errors import one_line
from ttl_lightning.models.strategies import FTL, STRATEGIES
from ttl_lightning.pages.text import number
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import Run, on_cpu, run_cost
from ttl_lightning.tasks.registry import report_of
from ttl_lightning.tasks.reports import TaskReport

BASELINE = FTL.name
# Latencies that differ by less are equal, whatever noise a run measured: beside eleven other
# processes on two cores, ratios of one network had a standard deviation of 5 to 9 % over runs.
REPEATS = 0.2

# What a method's own fields say already, or what has no bearing on its result.
_NOT_VARIANTS = frozenset(
    ("strategy", "cutoff", "seed", "data.fold", "data", "data.path", "backbone", "backbone.name")
)

# How well a model is trained, not what is compared: chosen on validation, as the cutoff is.
TUNED = ("protocol.", "trainer.")


def key_of(override: str) -> str:
    """The key that an override sets, adds or deletes."""
    return override.lstrip("+~").partition("=")[0]


def is_tuned(override: str) -> bool:
    """Whether an override is about how well a model is trained."""
    return key_of(override).startswith(TUNED)


Span = tuple[float, float]
Items = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A strategy at one setting, with one run a seed, or a seed and fold.

    Attributes:
        cutoff: the unit's full name, None for strategies that split nowhere.
        variant: the overrides that set it apart from others in its group, with a choice of its own.
        tuned: the overrides among which is chosen, as is among cutoffs; see `is_tuned`.
        runs: by seed and fold, ascending; a fold stands for a seed wherever seeds are meant.
    """

    strategy: str
    cutoff: str | None
    variant: Items
    tuned: Items
    runs: tuple[Run, ...]

    @property
    def kind(self) -> tuple[str, Items]:
        """Strategy and variant, of which one setting is chosen."""
        return self.strategy, self.variant

    @property
    def label(self) -> str:
        """For people: strategy and variant."""
        return self._named(self.variant)

    @property
    def name(self) -> str:
        """For people: strategy, variant and what is tuned, without the latter's groups."""
        tuned = (item.lstrip("+") for item in self.tuned)
        short = (item.removeprefix(key_of(item).rpartition(".")[0] + ".") for item in tuned)
        return self._named((*self.variant, *short))

    @property
    def setting(self) -> str:
        """For people: `block3.2 with protocol.learning_rate=0.003`; what it has of the two."""
        tuned = ", ".join(item.lstrip("+") for item in self.tuned)
        return one_line(" with ".join(filter(None, (self.cutoff, tuned))))

    def _named(self, items: Items) -> str:
        known = STRATEGIES.get(self.strategy)
        label = one_line(known.label if known else self.strategy)
        return f"{label} [{', '.join(map(one_line, items))}]" if items else label

    @property
    def report(self) -> TaskReport:
        """Of the task that its runs are of."""
        return report_of(self.runs[0].result)

    @property
    def place(self) -> int:
        """The cutoff's number; 0 for strategies that split nowhere."""
        return self.runs[0].result.cutoff_index or 0

    def by_seed(self, metric: str) -> dict[int, float]:
        """The metric of every seed, or seed and fold, that has it; see `RunResult.repeat`."""
        found = {run.result.repeat: number(run.result.metrics.get(metric)) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}

    def values(self, metric: str) -> list[float]:
        """The metric of every seed that has it."""
        return list(self.by_seed(metric).values())

    def mean(self, metric: str, seeds: Collection[int] = ()) -> float | None:
        """The metric's mean over its seeds, or over these of them."""
        values = [v for seed, v in self.by_seed(metric).items() if not seeds or seed in seeds]
        return statistics.fmean(values) if values else None

    def cost(self, key: str) -> float | None:
        """One of `COSTS`: the median over seeds."""
        found = (run_cost(run.result, key) for run in self.runs)
        values = [value for value in found if value is not None]
        return statistics.median(values) if values else None

    def span(self, key: str) -> Span | None:
        """Between which values one of `COSTS` lies: those of all seeds, a latency's with noise."""
        spans = [span for run in self.runs if (span := _span(run.result, key))]
        return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None


@dataclass(frozen=True, slots=True)
class Group:
    """The completed runs of one data set, one backbone and one task.

    Attributes:
        methods: the baseline first, then by strategy, variant, cutoff and what is tuned.
        repeated: folders of runs left out, because an earlier folder has their method and seed.
    """

    data: str
    backbone: str
    methods: tuple[Method, ...]
    repeated: Items

    @property
    def report(self) -> TaskReport:
        """Of its task."""
        return self.methods[0].report


def cheaper(one: Span, other: Span) -> bool:
    """Whether a cost is lower than another one beyond the noise of both."""
    return one[1] < other[0]


def _span(result: RunResult, key: str) -> Span | None:
    value = run_cost(result, key)
    if value is None or not key.startswith("latency"):
        return None if value is None else (value, value)
    whole = result.complexity.get("untruncated")
    if key == "latency_ratio" and not whole:
        return value, value  # the network itself, by definition
    sides = (result.complexity, whole or {})
    noise = max(REPEATS / 2, sum(number(on_cpu(side).get("noise")) or 0.0 for side in sides))
    return value * (1 - noise), value * (1 + noise)


def group(runs: Iterable[Run]) -> list[Group]:
    """Sort completed runs into groups, one for each data set, backbone and task.

    Two files or folders under one kind of data source are two data sets, unless they hold the same.
    """
    runs = list(runs)
    first: dict[str, str] = {}  # the path under which a content is named
    for run in runs:
        first.setdefault(_content(run.result), _path(run.result))
    paths = defaultdict(set)
    for run in runs:
        paths[run.result.data].add(first[_content(run.result)])
    tasks = {report_of(run.result).name for run in runs}
    members: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        kind, path = run.result.data, first[_content(run.result)]
        data = f"{kind} {path}".strip() if len(paths[kind]) > 1 else kind
        data = f"{data} ({report_of(run.result).name})" if len(tasks) > 1 else data
        members[data, run.result.backbone].append(run)
    return [_group(*key, members[key]) for key in sorted(members)]


def _path(result: RunResult) -> str:
    given = (item.lstrip("+").partition("=") for item in map(str, result.overrides))
    return next((value for key, _, value in given if key == "data.path"), "")


def _content(result: RunResult) -> str:
    """What its data are: their hashes, or in files of older versions the path."""
    content = result.identity.get("content")
    return json.dumps(content, sort_keys=True) if content else _path(result)


def _group(data: str, backbone: str, runs: list[Run]) -> Group:
    settings = _alike(runs)
    shared = frozenset.intersection(*settings)
    seeds: dict[tuple[str, str | None, Items, Items], dict[int, Run]] = defaultdict(dict)
    repeated = []
    for run, own in zip(runs, settings, strict=True):
        apart = sorted(own - shared)
        tuned = tuple(item for item in apart if is_tuned(item))
        variant = tuple(item for item in apart if not is_tuned(item))
        key = (run.result.strategy, run.result.cutoff, variant, tuned)
        if seeds[key].setdefault(run.result.repeat, run) is not run:
            repeated.append(run.folder)
    methods = [
        Method(*key, tuple(by_seed[seed] for seed in sorted(by_seed)))
        for key, by_seed in seeds.items()
    ]
    return Group(data, backbone, tuple(sorted(methods, key=_order)), tuple(repeated))


def _alike(runs: list[Run]) -> list[frozenset[str]]:
    """The settings of each run; of runs that are the same but for the seed, what all of them have.

    One that was given as `trainer=cpu` is not set apart from one that was not.
    """
    own = [_settings(run.result) for run in runs]
    same: dict[str, list[frozenset[str]]] = defaultdict(list)
    keys = [_seedless(run.result) or str(number) for number, run in enumerate(runs)]
    for key, settings in zip(keys, own, strict=True):
        same[key].append(settings)
    return [frozenset.intersection(*same[key]) for key in keys]


def _seedless(result: RunResult) -> str | None:
    values = {key: value for key, value in result.identity.items() if key != "seed"}
    if isinstance(data := values.get("data"), dict):
        values["data"] = {key: value for key, value in data.items() if key != "fold"}
    return json.dumps(values, sort_keys=True) if values else None


def _settings(result: RunResult) -> frozenset[str]:
    given = {str(item): key_of(str(item)) for item in result.overrides}
    return frozenset(
        item
        for item, key in given.items()
        if key not in _NOT_VARIANTS and bears(key) and not key.startswith("hydra")
    )


def _order(method: Method) -> tuple[int, str, Items, int, str, Items]:
    """The baseline first, truncated networks last; strategies of other makers after them."""
    rank = [*STRATEGIES, method.strategy].index(method.strategy)
    return rank, *method.kind, method.place, method.cutoff or "", method.tuned
