"""All runs in a sweep's folder, what they cost, and what its search chose among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttl_lightning.errors import DataError, one_line
from ttl_lightning.pages.text import cell, number
from ttl_lightning.records.files import csv_text, short
from ttl_lightning.records.folder import RESULT, SEARCH, SweepFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.tasks.registry import report_of

SEARCH_SCHEMA = 1
LACKS = f"{SEARCH} lacks a field of schema {SEARCH_SCHEMA}"
FIELDS = ("data", "backbone", "strategy", "cutoff", "cutoff_index", "seed")
COSTS = ("params", "trainable_params", "macs", "latency_ms", "latency_ratio")
TRAIN = ("epochs", "best_epoch", "wall_s")
STATUSES = ("completed", "failed", "interrupted", "running", "paused")


@dataclass(frozen=True, slots=True)
class Run:
    """One run and its folder, relative to the sweep's and with forward slashes."""

    folder: str
    result: RunResult

    @property
    def cause(self) -> str:
        """Why it failed, in one line."""
        return one_line(self.result.error or "no cause was recorded")


@dataclass(frozen=True, slots=True)
class Search:
    """What a search chose for one strategy.

    Attributes:
        choice: the cutoff, None if it takes none or none could be scored.
        reason: in a sentence or two.
        folders: of the runs that it looked at.
        setting: what else it chose, as overrides.
        taken: of `folders` those of its choice; none where the cutoff alone was searched.
    """

    choice: str | None
    reason: str
    folders: frozenset[str]
    setting: tuple[str, ...] = ()
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep's folder as it was found; `unreadable` holds files by name with the reason."""

    root: Path
    runs: list[Run] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def having(self, status: str) -> list[Run]:
        """The runs of one status."""
        return [run for run in self.runs if run.result.status == status]


def collect(root: Path) -> Sweep:
    """Read every `result.json` below the folder, and `search.json` in it.

    Raises:
        DataError: if there is no folder, or no `result.json` in it.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}.")
    there = SweepFolder(root)
    runs = there.runs()
    if not runs:
        raise DataError(f"{root} holds no {RESULT}, at any depth: not the folder of a sweep.")
    sweep = Sweep(root)
    for run in runs:
        try:
            result = _load(run.path)
        except DataError as error:
            name = run.result.relative_to(root).as_posix()
            sweep.unreadable[name] = str(error).replace(str(run.result), name)
        else:
            sweep.runs.append(Run(run.path.relative_to(root).as_posix(), result))
    try:
        sweep.searches.extend([_search(entry) for entry in read_searches(root)])
    except DataError as error:
        sweep.unreadable[SEARCH] = str(error)
    return sweep


def _load(folder: Path) -> RunResult:
    result = RunResult.load(folder)
    if result.status not in STATUSES:
        raise DataError(f"status must be one of {', '.join(STATUSES)}; got {short(result.status)}")
    report_of(result)
    return result


def read_searches(root: Path) -> list[Any]:
    """The entries of a sweep's `search.json`; none where there is no such file.

    Raises:
        DataError: if the file cannot be read.
    """
    path = SweepFolder(root).search
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{SEARCH} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SEARCH_SCHEMA:
        raise DataError(f"{SEARCH} is not a search of schema {SEARCH_SCHEMA}.")
    if not isinstance(content.get("searches"), list):
        raise DataError(f"{LACKS}: searches.")
    return list(content["searches"])


def _search(entry: Any) -> Search:  # noqa: ANN401 - whatever the file holds
    try:
        choice, metric, reason = entry["choice"], str(entry["metric"]), one_line(entry["reason"])
        folders = frozenset(str(name) for trial in entry["trials"] for name in trial["folders"])
        chosen = entry.get("chosen") or {"overrides": [], "folders": []}
        setting, taken = (tuple(map(str, chosen[key])) for key in ("overrides", "folders"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{LACKS}: {error!r}") from error
    if not isinstance(choice, str | None):
        raise DataError(f"{LACKS}: choice must not be {short(choice)}.")
    if metric.startswith("test/"):
        raise DataError(f"{SEARCH} chose by {metric}: what is tested on must not choose.")
    return Search(choice, reason, folders, setting, frozenset(taken))


def run_cost(result: RunResult, key: str) -> float | None:
    """One of `COSTS`, of one run.

    On the CPU: `latency_ms` is the median, `latency_ratio` the ratio to the untruncated network.
    """
    if key.startswith("latency"):
        return number(on_cpu(result.complexity).get("median" if key == "latency_ms" else "ratio"))
    return number(result.complexity.get(key))


def whole_ms(result: RunResult) -> float | None:
    """The untruncated network's fastest pass on the CPU; None where it was not timed."""
    cost = result.complexity
    whole = cost.get("untruncated")
    if whole is None and run_cost(result, "latency_ratio") == 1:
        whole = cost  # the strategy keeps it
    return number(on_cpu(whole).get("min")) if isinstance(whole, dict) else None


def on_cpu(cost: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of the latency on the CPU; nothing where it could not be measured."""
    times = cost.get("latency_ms")
    cpu = times.get("cpu") if isinstance(times, dict) else None
    return cpu if isinstance(cpu, dict) else {}


def summary_csv(runs: Sequence[Run]) -> str:
    """Every run's settings, metrics, costs and times; what is unknown is an empty cell.

    Columns: folder, status, error, `FIELDS`, overrides (separated by blanks), every metric that any
    run has, `COSTS` (as of `run_cost`), `TRAIN`. A text that a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    metrics = sorted({str(key) for run in runs for key in run.result.metrics})
    header = ["folder", "status", "error", *FIELDS, "overrides", *metrics, *COSTS, *TRAIN]
    rows = []
    for run in runs:
        result = run.result
        row: list[object] = [run.folder, result.status, result.error]
        row += [getattr(result, name) for name in FIELDS]
        row.append(" ".join(map(str, result.overrides)))
        row += [result.metrics.get(key) for key in metrics]
        row += [
            run_cost(result, key) if key.startswith("latency") else result.complexity.get(key)
            for key in COSTS
        ]
        row += [result.train.get(key) for key in TRAIN]
        rows.append(map(cell, row))
    return csv_text(map(cell, header), rows)
