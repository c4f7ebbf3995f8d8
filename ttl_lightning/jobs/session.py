"""One multirun from its command line to its report."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.data.options import SHARED
from ttl_lightning.errors import FAILED, ConfigError, TTLError
from ttl_lightning.jobs import rounds
from ttl_lightning.jobs.job import Job
from ttl_lightning.jobs.plan import Group, Overrides, Plan, cutoffs_of, without
from ttl_lightning.jobs.precision import Settled, settled, whole
from ttl_lightning.jobs.rounds import Criterion, Search
from ttl_lightning.jobs.tuning import Tuning, tuned
from ttl_lightning.records.folder import SweepFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report import sweep as report
from ttl_lightning.report.sweep import show
from ttl_lightning.runs.check import check
from ttl_lightning.runtime.ending import told
from ttl_lightning.runtime.shortage import check_folder
from ttl_lightning.search import Compare, Method

log = logging.getLogger(__name__)

Planned = tuple[Job, Overrides]
Launch = Callable[[Sequence[Planned], int], object]
T = TypeVar("T")


class Prepared(ABC, Generic[T]):
    """A way to search that first looks at something, which is the same for all strategies."""

    @abstractmethod
    def jobs(self, group: Group, candidates: Sequence[str]) -> list[Overrides]:
        """What it looks at: the strategy of these jobs is its own affair."""

    @abstractmethod
    def look(self, jobs: Sequence[Planned], run: Callable[[Sequence[Planned]], None]) -> T:
        """Look at the jobs, which `run` trains.

        Raises:
            TTLError: if nothing can be found.
        """

    @abstractmethod
    def method(self, found: T, candidates: Sequence[str]) -> Method:
        """How to search, for what was found, among these cutoffs."""


class Session:
    """Plans jobs, launches them, and reads what became of them.

    Args:
        compose: makes one job's configuration from its overrides; see `Plan`.
        launch: runs jobs, given each with the overrides that make it, and the number of the first;
            what it returns or raises is not relied on.
        folder: the sweep's.
    """

    def __init__(
        self, compose: Callable[[list[str]], DictConfig], launch: Launch, folder: Path
    ) -> None:
        self._plan, self._folder = Plan(compose), folder
        self._launch, self._launched = launch, 0
        self._since = time.time()
        self._settled: Settled | None = None
        self._found: dict[tuple[Overrides, ...], Any] = {}
        self.unfinished = 0

    def grid(self, arguments: Sequence[str]) -> None:
        """Run every combination.

        Raises:
            ConfigError: if one could not begin; then none has begun.
        """
        groups = self._groups(arguments)
        self._run(self._plan.jobs(job for group in groups for job in group.jobs()))

    def search(
        self,
        arguments: Sequence[str],
        method: Callable[[Group], Method | Prepared[Any]],
        metric: str | None,
    ) -> None:
        """Search the cutoff of each strategy; those that take none run once a seed beside it.

        Args:
            arguments: the command line's overrides; cutoffs among them restrict the candidates.
            method: how to search, for the jobs of a group.
            metric: what is looked for on the validation split; None: what the task chooses by.

        Raises:
            ConfigError: if a job could not begin; then none has begun.
            TTLError: if what a `Prepared` method looks at gives nothing.
        """
        groups = self._groups(arguments)
        criteria = [Criterion.of(group, metric) for group in groups]
        searches = [
            Search(
                group,
                self._ready(method(group), group, list(sizes)).toward(criterion.sign),
                criterion,
                sizes,
                self._folder,
            )
            for group, criterion in zip(groups, criteria, strict=True)
            if group.strategy.needs_cutoff and (sizes := cutoffs_of(group))
        ]
        if not searches:
            raise ConfigError("none of the strategies takes a cutoff: there is nothing to search.")
        uncut = [group for group in groups if not group.strategy.needs_cutoff]
        beside = self._plan.jobs(job for group in uncut for job in group.jobs())
        self._drive(searches, beside)

    def compare(
        self,
        arguments: Sequence[str],
        method: Compare,
        factors: Sequence[float],
        metric: str | None,
    ) -> None:
        """Choose each strategy's cutoff and what else is swept, and train it with all seeds.

        Args:
            arguments: the command line's overrides; cutoffs among them restrict the candidates.
            method: how to choose, in so many trainings.
            factors: rates to try, as multiples of the protocol's, where the command line has none.
            metric: what is looked for on the validation split, with the first seed; None: what the
                task chooses by.

        Raises:
            ConfigError: if a job could not begin; then none of its round has begun.
        """
        swept, others = tuned(arguments)
        groups = self._groups(others)
        criteria = [Criterion.of(group, metric) for group in groups]
        tunings = [
            Tuning.of(group, method, swept, factors, criterion)
            for group, criterion in zip(groups, criteria, strict=True)
        ]
        for tuning in tunings:
            log.info(tuning.announced())
        self._drive(tunings, [])

    def _drive(self, searches: Sequence[Search | Tuning], beside: list[Planned]) -> None:
        """Run searches side by side to their ends, and other jobs beside their first round."""
        trials: list[tuple[Any, Any]]
        trials = [(search, trial) for search in searches for trial in search.begin()]
        while trials:
            jobs = [
                [self._plan.job(overrides) for overrides in search.overrides(trial)]
                for search, trial in trials
            ]
            self._run([*beside, *(job for batch in jobs for job in batch)])
            beside = []
            results = [[self._result(job) for job, _ in batch] for batch in jobs]
            taken = list(zip(trials, results, strict=True))
            trials = [
                (search, trial)
                for search in dict.fromkeys(search for search, _ in trials)
                for trial in search.take({t: runs for (s, t), runs in taken if s is search})
            ]
            rounds.write(self._folder, [search.described() for search in searches])

    def _ready(
        self, method: Method | Prepared[Any], group: Group, candidates: Sequence[str]
    ) -> Method:
        """A method that can begin, for the jobs of a group and the cutoffs to search among."""
        if isinstance(method, Method):
            if method.frees and not group.strategy.keeps_rest:
                raise ConfigError(
                    f"hydra/sweeper={method.name} frees one unit more each time, and "
                    f"strategy={group.strategy.name} freezes none: give strategy=lwft."
                )
            return method
        asked = method.jobs(group, candidates)
        shared = tuple(without(overrides, "strategy") for overrides in asked)
        if shared not in self._found:
            self._found[shared] = method.look([self._plan.job(job) for job in asked], self._run)
        return method.method(self._found[shared], candidates)

    def _groups(self, arguments: Sequence[str]) -> list[Group]:
        """The command line's, with one precision for all that ask for `auto`."""
        groups = self._plan.groups(arguments)
        auto = [whole(group.spec) for group in groups if group.spec.trainer.precision == "auto"]
        if not auto:
            return groups
        for spec in auto:  # a mistake is told before anything is measured
            check(spec)
        self._settled = settled(auto, self._folder)
        return [self._plan.settled(group, self._settled) for group in groups]

    def _result(self, job: Job) -> tuple[str, RunResult]:
        """A job's folder below the sweep's, and what lies there."""
        found = job.result()
        assert found is not None, job.folder
        return job.folder.relative_to(self._folder).as_posix(), found

    def _run(self, jobs: Sequence[Planned]) -> None:
        """Launch jobs; afterwards each has a `result.json` that says how it ended."""
        left = [(job, overrides) for job, overrides in jobs if not job.settled(since=math.inf)]
        if self._settled:
            self._settled.write(self._folder)
        if len(left) < len(jobs):
            log.info("%d of %d jobs are done already", len(jobs) - len(left), len(jobs))
        while left:
            why = self._launch_all(left)
            left = [(job, overrides) for job, overrides in left if not job.ended(self._since)]
            # A launcher may give up at the first job that it lost, with others running or queued:
            # launched again, those wait for what runs already.
            abandoned = {job.folder for job, _ in left if why and job.abandoned()}
            lost = abandoned or {job.folder for job, _ in left}
            for job, _ in left:
                if job.folder in lost:
                    job.lost(why or "the launcher brought nothing back")
            left = [(job, overrides) for job, overrides in left if job.folder not in lost]
        results = [job.result() for job, _ in jobs]
        self.unfinished += sum(result is None or not result.succeeded for result in results)

    def _launch_all(self, jobs: Sequence[Planned]) -> str | None:
        """Launch jobs; why the launcher failed, or None."""
        first, self._launched = self._launched, self._launched + len(jobs)
        try:
            self._launch(jobs, first)
        except Exception as error:  # noqa: BLE001 - a launcher's own, of any kind
            why = f"the launcher failed: {type(error).__name__}: {config.first_line(error)}"
            log.error(why)  # noqa: TRY400 - one line
            return why
        return None


def run_session(
    compose: Callable[[list[str]], DictConfig],
    launch: Launch,
    folder: Path,
    act: Callable[[Session], None],
) -> int:
    """Run a session to its report, also where it is interrupted.

    Args:
        compose: as in `Session`.
        launch: as in `Session`.
        folder: as in `Session`.
        act: what to run.

    Returns:
        The exit status: 0 if all jobs completed.

    Raises:
        SystemExit: where it could not begin, or was interrupted.
    """
    session = Session(compose, launch, folder)
    with told():
        check_folder(folder)
        try:
            with _shared(SweepFolder(folder).decoded):
                act(session)
        except KeyboardInterrupt as stop:
            stop.add_note("the same command goes on from here")
            _report(folder)
            raise
    _report(folder)
    return FAILED if session.unfinished else 0


@contextlib.contextmanager
def _shared(folder: Path) -> Iterator[None]:
    """A folder for what the jobs decode; one that is interrupted leaves it to the next command."""
    before = os.environ.get(SHARED)
    os.environ[SHARED] = str(folder.absolute())
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.environ.pop(SHARED)
        if before is not None:
            os.environ[SHARED] = before


def _report(folder: Path) -> None:
    try:
        show(report.write(folder))
    except (TTLError, OSError) as error:  # no run yet, or no space: the runs are what matters
        log.error("no report: %s", error)  # noqa: TRY400 - one line
