"""Runs that differ only in their seed, as one method; the methods of one data set and backbone."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ttl_lightning.identity import bears
from ttl_lightning.report.collect import Run
from ttl_lightning.report.text import number, one_line
from ttl_lightning.results import RunResult

BASELINE = "ftl"
# The baseline first, the truncated networks last; strategies of other makers after them.
ORDER = (BASELINE, "ffe", "lwft", "tf", "ttl")
LABELS = {
    "ttl": "TTL (truncated)",
    "tf": "TransFusion",
    "lwft": "layer-wise",
    "ftl": "full finetuning",
    "ffe": "fixed features",
}
COSTS = ("params", "trainable_params", "macs", "latency_ms")

# What a method's own fields say already, or what has no bearing on its result.
_NOT_VARIANTS = frozenset(
    ("strategy", "cutoff", "seed", "data", "data.path", "backbone", "backbone.name")
)


@dataclass(frozen=True, slots=True)
class Method:
    """A strategy at a cutoff, with one run a seed.

    Attributes:
        cutoff: the unit's full name, None for strategies that split nowhere.
        variant: the overrides that set it apart from others in its group.
        runs: by seed, ascending.
    """

    strategy: str
    cutoff: str | None
    variant: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """For people: strategy, cutoff and variant."""
        label = one_line(LABELS.get(self.strategy, self.strategy))
        if not self.variant:
            return label
        return f"{label} [{', '.join(map(one_line, self.variant))}]"

    @property
    def place(self) -> int:
        """The cutoff's number; 0 for strategies that split nowhere."""
        return self.runs[0].result.cutoff_index or 0

    def values(self, metric: str) -> list[float]:
        """The metric of every seed that has it."""
        found = (number(run.result.metrics.get(metric)) for run in self.runs)
        return [value for value in found if value is not None]

    def mean(self, metric: str) -> float | None:
        """The metric's mean over seeds."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def cost(self, key: str) -> float | None:
        """One of `COSTS`: the median over seeds, since a busy machine spoils single latencies."""
        found = (run_cost(run.result, key) for run in self.runs)
        values = [value for value in found if value is not None]
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Group:
    """The completed runs of one data set and one backbone.

    Attributes:
        methods: the baseline first, then by strategy, variant and cutoff.
        repeated: folders of runs left out, because an earlier folder has their method and seed.
    """

    data: str
    backbone: str
    methods: tuple[Method, ...]
    repeated: tuple[str, ...]


def run_cost(result: RunResult, key: str) -> float | None:
    """One of `COSTS`, of one run; `latency_ms` is the median on the CPU."""
    value = result.complexity.get(key)
    if key == "latency_ms":
        cpu = value.get("cpu") if isinstance(value, dict) else None
        value = cpu.get("median") if isinstance(cpu, dict) else None
    return number(value)


def group(runs: Iterable[Run]) -> list[Group]:
    """Sort completed runs into groups, one for each data set and backbone.

    Two files or folders under one kind of data source are two data sets, unless they hold the same.
    """
    runs = list(runs)
    first: dict[str, str] = {}  # the path under which a content is named
    for run in runs:
        first.setdefault(_content(run.result), _path(run.result))
    paths = defaultdict(set)
    for run in runs:
        paths[run.result.data].add(first[_content(run.result)])
    members: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        kind, path = run.result.data, first[_content(run.result)]
        data = f"{kind} {path}".strip() if len(paths[kind]) > 1 else kind
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
    seeds: dict[tuple[str, str | None, tuple[str, ...]], dict[int, Run]] = defaultdict(dict)
    repeated = []
    for run, own in zip(runs, settings, strict=True):
        key = (run.result.strategy, run.result.cutoff, tuple(sorted(own - shared)))
        if seeds[key].setdefault(run.result.seed, run) is not run:
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
    return json.dumps(values, sort_keys=True) if values else None


def _settings(result: RunResult) -> frozenset[str]:
    kept = set()
    for item in map(str, result.overrides):
        key = item.lstrip("+~").partition("=")[0]
        if key not in _NOT_VARIANTS and bears(key) and not key.startswith("hydra"):
            kept.add(item)
    return frozenset(kept)


def _order(method: Method) -> tuple[int, str, tuple[str, ...], int, str]:
    known = method.strategy in ORDER
    rank = ORDER.index(method.strategy) if known else len(ORDER)
    return rank, method.strategy, method.variant, method.place, method.cutoff or ""
