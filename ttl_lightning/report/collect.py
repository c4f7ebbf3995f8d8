"""All runs in a sweep's folder, and what the sweep's search chose among them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttl_lightning.errors import DataError, one_line
from ttl_lightning.records.folder import RESULT, SEARCH, SweepFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.tasks.registry import report_of

SEARCH_SCHEMA = 1
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

    @property
    def log_tail(self) -> list[str]:
        """The last lines of its log, where they were kept."""
        return [str(line) for line in self.result.log_tail]


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
        sweep.searches.extend(_searches(there.search))
    except DataError as error:
        sweep.unreadable[SEARCH] = str(error)
    return sweep


def _load(folder: Path) -> RunResult:
    result = RunResult.load(folder)
    if result.status not in STATUSES:
        raise DataError(f"status must be one of {', '.join(STATUSES)}; got {_short(result.status)}")
    report_of(result)
    return result


def _searches(path: Path) -> list[Search]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{SEARCH} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SEARCH_SCHEMA:
        raise DataError(f"{SEARCH} is not a search of schema {SEARCH_SCHEMA}.")
    try:
        return [_search({**content, **entry}) for entry in content["searches"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{SEARCH} lacks a field of schema {SEARCH_SCHEMA}: {error!r}") from error


def _search(entry: dict[str, Any]) -> Search:
    choice, metric = entry["choice"], str(entry["metric"])
    if metric.startswith("test/"):
        raise DataError(f"{SEARCH} chose by {metric}: what is tested on must not choose.")
    if not isinstance(choice, str | None):
        raise TypeError(f"choice {_short(choice)}")
    folders = {str(folder) for trial in entry["trials"] for folder in trial["folders"]}
    chosen = entry.get("chosen") or {"overrides": [], "folders": []}
    return Search(
        choice,
        one_line(entry["reason"]),
        frozenset(folders),
        tuple(map(str, chosen["overrides"])),
        frozenset(map(str, chosen["folders"])),
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
