"""`hydra/sweeper=grid`, and the searches for a cutoff."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.ttl_lightning.launcher import ProcessLauncher

if TYPE_CHECKING:
    from ttl_lightning.jobs.plan import Group
    from ttl_lightning.jobs.session import Planned, Session
    from ttl_lightning.search import Method


# Launchers that come as extras, by the package that has each.
EXTRAS = {
    "hydra_plugins.hydra_submitit_launcher": "slurm",
    "hydra_plugins.hydra_ray_launcher": "ray",
}


def check_installed(settings: DictConfig) -> None:
    """Demand the plugin that `hydra/launcher` needs.

    Raises:
        ConfigError: naming the extra that brings it.
    """
    from ttl_lightning.errors import ConfigError

    package = str(settings.hydra.launcher.get("_target_")).rpartition(".")[0].rpartition(".")[0]
    if package in EXTRAS and find_spec(package) is None:
        raise ConfigError(
            f"hydra/launcher={settings.hydra.runtime.choices['hydra/launcher']} needs a plugin: "
            f"pip install 'ttl_lightning[{EXTRAS[package]}]'"
        )


def _launch(launcher: Launcher, jobs: Sequence[Planned], first: int) -> None:
    """Ours takes the jobs as they are; others are told how to make them again."""
    if isinstance(launcher, ProcessLauncher):
        launcher.run([job for job, _ in jobs])
    else:
        launcher.launch([list(overrides) for _, overrides in jobs], first)


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
                launch=lambda jobs, first: _launch(launcher, jobs, first),
                folder=Path(settings.hydra.runtime.cwd) / settings.hydra.sweep.dir,
                act=lambda session: self.act(session, [*self._given(), *arguments]),
            )
        )

    def _launcher(self, context: HydraContext, settings: DictConfig) -> Launcher:
        from ttl_lightning.errors import USAGE, TTLError

        try:
            check_installed(settings)
            return Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=self._task, config=settings
            )
        except TTLError as error:  # Hydra would print where it was raised
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
            sys.exit(USAGE)

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


class _SearchSweeper(_SessionSweeper):
    """Chooses each strategy's cutoff on the validation split; see `ttl_lightning.search`.

    Args:
        metric: what is maximised, the mean over the seeds given.
        params: as in `GridSweeper`.
    """

    def __init__(self, metric: str = "val/auprc", params: Mapping[str, Any] | None = None) -> None:
        super().__init__(params)
        self._metric = metric

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run the search."""
        session.search(arguments, self.method, self._metric)

    @abstractmethod
    def method(self, group: Group, candidates: Sequence[str]) -> Method:
        """How to search, for the jobs of a group, among these cutoffs."""


class ExhaustiveSweeper(_SearchSweeper):
    """Every cutoff that there is."""

    def method(self, group: Group, candidates: Sequence[str]) -> Method:
        """Make the method."""
        from ttl_lightning.search import Exhaustive

        return Exhaustive()


class HierarchicalSweeper(_SearchSweeper):
    """Blocks first, then the layers around the best one.

    Args:
        radius: None, a number of layers, or "all".
        metric: as in `ExhaustiveSweeper`.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        radius: Any = None,  # noqa: ANN401 - checked where it is used
        metric: str = "val/auprc",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(metric, params)
        self._radius = radius

    def method(self, group: Group, candidates: Sequence[str]) -> Method:
        """Make the method."""
        from ttl_lightning.search import Hierarchical

        return Hierarchical(self._radius)


class IncrementalSweeper(_SearchSweeper):
    """Head alone first, then one unit more each time, from the pretrained weights.

    Args:
        target: the score that is good enough; None: look for the best.
        patience: trials without a gain after which to stop.
        metric: as in `ExhaustiveSweeper`.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        target: float | None = None,
        patience: int = 2,
        metric: str = "val/auprc",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(metric, params)
        self._target, self._patience = target, patience

    def method(self, group: Group, candidates: Sequence[str]) -> Method:
        """Make the method.

        Raises:
            ConfigError: if the strategy has no frozen units to free.
        """
        from ttl_lightning.errors import ConfigError
        from ttl_lightning.search import Incremental

        if not group.strategy.keeps_rest:
            raise ConfigError(
                "hydra/sweeper=incremental frees one unit more each time, and "
                f"strategy={group.strategy.name} freezes none: give strategy=lwft."
            )
        return Incremental(self._target, self._patience)


class HalvingSweeper(_SearchSweeper):
    """The candidates of the hierarchical search for a few epochs, the better ones for more.

    Args:
        eta: each rung keeps one in so many, and trains it so many times as long.
        min_epochs: epochs of the first rung.
        radius: as in `HierarchicalSweeper`; "all" races all cutoffs at once.
        metric: as in `ExhaustiveSweeper`.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        eta: int = 4,
        min_epochs: int = 1,
        radius: Any = None,  # noqa: ANN401 - checked where it is used
        metric: str = "val/auprc",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(metric, params)
        self._eta, self._min_epochs, self._radius = eta, min_epochs, radius

    def method(self, group: Group, candidates: Sequence[str]) -> Method:
        """Make the method."""
        from ttl_lightning.search import Halving

        epochs = int(group.cfg.trainer.max_epochs)
        return Halving(epochs, self._eta, self._min_epochs, self._radius)


class DetectSweeper(_SessionSweeper):
    """One full finetuning a seed, and one training at the cutoff that its features point at.

    Args:
        threshold: of the excess over chance.
        split: whose images are compared.
        metric: as in `ExhaustiveSweeper`.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        split: str = "val",
        metric: str = "val/auprc",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params)
        self._threshold, self._split, self._metric = threshold, split, metric

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run what it takes."""
        session.detect(arguments, self._threshold, self._split, self._metric)


class PredictSweeper(_SessionSweeper):
    """A race among the cutoffs whose pretrained features a linear classifier reads best.

    Args:
        keep: share of the cutoffs that race; 0: the best one alone.
        eta: as in `HalvingSweeper`.
        min_epochs: as in `HalvingSweeper`.
        metric: as in `ExhaustiveSweeper`.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        keep: float = 0.5,
        eta: int = 4,
        min_epochs: int = 1,
        metric: str = "val/auprc",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params)
        self._keep, self._eta, self._min_epochs, self._metric = keep, eta, min_epochs, metric

    def act(self, session: Session, arguments: list[str]) -> None:
        """Run what it takes."""
        session.predict(arguments, self.race, self._metric)

    def race(self, group: Group, predicted: Mapping[str, float | None]) -> Method:
        """Make the method."""
        from ttl_lightning.search import Predicted

        epochs = int(group.cfg.trainer.max_epochs)
        return Predicted(predicted, epochs, self._keep, self._eta, self._min_epochs)


class CompareSweeper(_SessionSweeper):
    """Each strategy at its best cutoff and rate, all found in the same number of trainings.

    Args:
        budget: trainings that each strategy may take to choose.
        rates: learning rates to try, as multiples of the protocol's own.
        metric: what is maximised, of the first seed; the choice is trained with all.
        params: as in `GridSweeper`.
    """

    def __init__(
        self,
        budget: int = 9,
        rates: Sequence[float] = (0.3, 1.0, 3.0),
        metric: str = "val/auprc",
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
