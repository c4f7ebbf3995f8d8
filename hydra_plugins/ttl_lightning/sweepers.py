"""`hydra/sweeper=grid`, and the searches for a cutoff."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.ttl_lightning.launcher import check_installed, launched

if TYPE_CHECKING:
    from ttl_lightning.jobs.plan import Group
    from ttl_lightning.jobs.session import Prepared, Session
    from ttl_lightning.search import Method


class _SessionSweeper(Sweeper):
    """Gives a session its command line, and ends with its report.

    Args:
        params: overrides as in `-m`, to be kept in a file: `{strategy: "ftl,ttl"}`.
    """

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self._params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives every sweeper."""
        self.hydra_context, self.config, self._task = hydra_context, config, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs; the exit status is 0 only if all of them completed."""
        from ttl_lightning.jobs.session import run_session

        assert self.config  # setup() came before
        assert self.hydra_context
        settings = self.config
        launcher = self._launcher(self.hydra_context, settings)
        loader = self.hydra_context.config_loader
        sys.exit(
            run_session(
                compose=lambda overrides: loader.load_sweep_config(settings, overrides),
                launch=lambda jobs, first: launched(launcher, jobs, first),
                folder=Path(settings.hydra.runtime.cwd) / settings.hydra.sweep.dir,
                act=lambda session: self.act(session, [*self._given(), *arguments]),
            )
        )

    def _launcher(self, context: HydraContext, settings: DictConfig) -> Launcher:
        from ttl_lightning.runtime.ending import told

        with told():  # Hydra would print where an error was raised
            check_installed(settings)
            return Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=self._task, config=settings
            )

    def _given(self) -> list[str]:
        return [f"{key}={value}" for key, value in self._params.items()]

    @abstractmethod
    def act(self, session: Session, arguments: list[str]) -> None:
        """Run what the overrides ask for."""


class GridSweeper(_SessionSweeper):
    """Every combination of the values given; strategies without a cutoff run once a seed."""

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run the grid."""
        session.grid(arguments)


class SearchSweeper(_SessionSweeper):
    """Chooses each strategy's cutoff on the validation split.

    Args:
        method: the class of `search.Method`, or of `jobs.session.Prepared`, by module and name.
        metric: what is looked for, the mean over the seeds given; None: what the task chooses by.
        params: as in `GridSweeper`.
        options: of the method; they are read from the configuration of the jobs that it searches
            among, so that they may refer to it: `${trainer.max_epochs}`.
    """

    def __init__(
        self,
        method: str,
        metric: str | None = None,
        params: Mapping[str, Any] | None = None,
        **options: object,
    ) -> None:
        super().__init__(params)
        self._method, self._metric, self._options = method, metric, tuple(options)

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run the search."""
        from ttl_lightning.config.compose import plain
        from ttl_lightning.search.methods import method_at

        make = method_at(self._method, self._options)

        def method(group: Group) -> Method | Prepared[Any]:
            settings = plain(group.composed.hydra.sweeper)
            made: Method | Prepared[Any] = make(**{key: settings[key] for key in self._options})
            return made

        session.search(arguments, method, self._metric)


class CompareSweeper(_SessionSweeper):
    """Each strategy at its best cutoff and rate, all found in the same number of trainings.

    Args:
        budget: trainings that each strategy may take to choose.
        rates: learning rates to try, as multiples of the protocol's own.
        metric: what is looked for, of the first seed; None: what the task chooses by. The choice
            is trained with all.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        budget: int = 9,
        rates: Sequence[float] = (0.3, 1.0, 3.0),
        metric: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params)
        self._budget, self._rates, self._metric = budget, rates, metric

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run what it takes."""
        from ttl_lightning.jobs.tuning import check_factors
        from ttl_lightning.search import Compare

        factors = check_factors(self._rates)
        session.compare(arguments, Compare(self._budget), factors, self._metric)
