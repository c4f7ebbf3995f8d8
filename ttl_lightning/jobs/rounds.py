"""A search among real trainings: each round's trials become jobs, their scores the next round."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from ttl_lightning.config.identity import bears
from ttl_lightning.errors import DataError
from ttl_lightning.jobs.plan import Group, Overrides
from ttl_lightning.pages.text import number
from ttl_lightning.records import history
from ttl_lightning.records.files import json_text, write_atomically
from ttl_lightning.records.folder import RunFolder, SweepFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import SEARCH_SCHEMA, read_searches
from ttl_lightning.report.methods import key_of
from ttl_lightning.runs.parts import task_class
from ttl_lightning.search import Choice, Compare, Method, Outcome, Trial, advance

log = logging.getLogger(__name__)

NOT_ENDED = "not ended yet"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a search looks for the best of.

    Attributes:
        key: of a validation metric.
        sign: 1, or -1 where less is better: methods maximise their product.
    """

    key: str
    sign: float

    @classmethod
    def of(cls, group: Group, metric: str | None) -> Criterion:
        """The metric given, or the task's own.

        Raises:
            UnknownNameError: if the task does not choose by it; nothing ever selects on test.
        """
        key, found = task_class(group.spec).report.choosing(metric)
        return cls(key, found.sign)

    @property
    def name(self) -> str:
        """For people, as reasons show its values."""
        return self.key if self.sign > 0 else f"-{self.key}"

    def of_run(self, run: RunResult) -> float | None:
        """A run's value; None where it has none."""
        return number(run.metrics.get(self.key)) if run.succeeded else None

    def outcome(self, value: float | None, size: float | None = None) -> Outcome:
        """What a method is told of it."""
        return Outcome(None if value is None else self.sign * value, size)


@dataclass(slots=True, eq=False)
class Search:
    """The search of one group of jobs: what it tried, what came of it, and its choice.

    Args:
        group: the jobs, without their cutoffs.
        method: how to search.
        criterion: what is looked for, the mean over the seeds.
        sizes: every candidate in network order, and its number of parameters.
        root: the sweep's folder.
    """

    group: Group
    method: Method
    criterion: Criterion
    sizes: Mapping[str, float]
    root: Path
    choice: Choice | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    _plan: Any = None
    _batch: list[Trial] = field(default_factory=list)

    def begin(self) -> list[Trial]:
        """The first round's trials."""
        self._plan = self.method.plan(list(self.sizes))
        return self._step(None)

    def overrides(self, trial: Trial) -> list[Overrides]:
        """A trial's jobs, one a seed."""
        extra = [f"cutoff={trial.candidate}"]
        if trial.epochs is not None:
            extra.append(f"until_epoch={trial.epochs}")
        if any(earlier["cutoff"] == trial.candidate for earlier in self.trials):
            extra.append("resume=auto")  # it goes on, also where the search began anew
        return [(*self.group.overrides, *extra, *seed) for seed in self.group.seeds]

    def take(self, results: Mapping[Trial, Sequence[tuple[str, RunResult]]]) -> list[Trial]:
        """Take a round's results, and say what the next one tries; nothing once it has chosen.

        Args:
            results: by trial, the folder and the result of each seed.
        """
        outcomes = {}
        for trial in self._batch:
            scores = {
                str(run.repeat): self._score(folder, run, trial.epochs)
                for folder, run in results[trial]
            }
            size, folders = self.sizes[trial.candidate], [folder for folder, _ in results[trial]]
            found = tried(trial.candidate, trial.stage, scores, size, folders)
            self.trials.append({**found, "epochs": trial.epochs})
            outcomes[trial] = self.criterion.outcome(found["score"], size)
        return self._step(outcomes)

    def _score(self, folder: str, run: RunResult, epochs: int | None) -> float | None:
        if run.succeeded and epochs is not None and run.train["epochs"] > epochs:
            # a search that is taken up again
            protocol = self.group.spec.protocol
            sign = 1 if protocol.monitor_mode == "max" else -1
            rows = history.read(RunFolder(self.root / folder).history)[:epochs]
            best = max(rows, key=lambda row: sign * row.get(protocol.monitor, -sign * math.inf))
            return number(best.get(self.criterion.key))
        return self.criterion.of_run(run)

    def _step(self, outcomes: Mapping[Trial, Outcome] | None) -> list[Trial]:
        step = advance(self._plan, outcomes)
        self.choice, self._batch = (step, []) if isinstance(step, Choice) else (None, step)
        return self._batch

    def described(self) -> dict[str, Any]:
        """Its entry in `search.json`."""
        choice = self.choice or Choice(None, NOT_ENDED)
        turned = self.choice is not None and self.criterion.sign < 0
        shown = f" Scores are {self.criterion.name}." if turned else ""
        return {
            **described(self.group, self.method, self.criterion, self.trials),
            "choice": choice.candidate,
            "reason": choice.reason + shown,
        }


def tried(
    cutoff: str | None,
    stage: str,
    scores: Mapping[str, float | None],
    size: float | None,
    folders: Sequence[str],
) -> dict[str, Any]:
    """A trial of a search, to its end: its entry in `search.json`."""
    known = [score for score in scores.values() if score is not None]
    return {
        "cutoff": cutoff,
        "stage": stage,
        "epochs": None,
        "scores": scores,
        "score": fmean(known) if known else None,
        "size": size,
        "folders": folders,
    }


def described(
    group: Group, method: Method | Compare, criterion: Criterion, trials: list[dict[str, Any]]
) -> dict[str, Any]:
    """What was searched, how, and what was tried: a search's entry, without its choice."""
    return {
        "data": group.spec.data.name,
        "backbone": group.spec.backbone.name,
        "strategy": group.strategy.name,
        "overrides": list(group.overrides),
        "method": method.name,
        "options": asdict(cast(Any, method)),
        "metric": criterion.key,
        "seeds": list(dict.fromkeys(int(seed) for trial in trials for seed in trial["scores"])),
        "trials": trials,
    }


def write(folder: Path, searches: Sequence[dict[str, Any]]) -> None:
    """Write `search.json`; the searches of other settings that it holds come after these."""
    keys = {_key(entry) for entry in searches}
    kept = [entry for entry in read(folder) if _key(entry) not in keys]
    content = {"schema": SEARCH_SCHEMA, "searches": [*searches, *kept]}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(SweepFolder(folder).search, json_text(content).encode())


def read(folder: Path) -> list[dict[str, Any]]:
    """The entries of `search.json`; a file that is none is set aside, and that is said."""
    try:
        return [entry for entry in read_searches(folder) if isinstance(entry, dict)]
    except DataError:
        path = SweepFolder(folder).search
        aside = path.with_suffix(".damaged.json")
        with suppress(OSError):
            path.replace(aside)
            log.warning("%s cannot be read as a search; it is kept as %s.", path, aside.name)
        return []


def _key(entry: Mapping[str, Any]) -> str:
    """What is searched; how its jobs are run does not matter."""
    overrides = [o for o in entry.get("overrides", []) if bears(key_of(o))]
    return json.dumps([*(entry.get(k) for k in ("data", "backbone", "strategy")), overrides])
