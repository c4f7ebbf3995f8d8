"""`hydra/launcher=process`: a process a job, several at once on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from ttl_lightning.jobs.job import Job
    from ttl_lightning.jobs.session import Planned
    from ttl_lightning.records.schema import RunResult
    from ttl_lightning.runs.fingerprint import Known


# Launchers that come as extras, by the package that has each.
EXTRAS = {
    "hydra_plugins.hydra_submitit_launcher": "slurm",
    "hydra_plugins.hydra_ray_launcher": "ray",
}


class ProcessLauncher(Launcher):
    """Runs each job in a process of its own: whatever it does, the others run.

    Args:
        n_jobs: jobs at once; None: as of `Pool`.
        timeout_min: minutes that a job may take; None: any.
        mem_gb: gigabytes of memory that a job may use; None: any.
    """

    def __init__(
        self,
        n_jobs: int | None = None,
        timeout_min: float | None = None,
        mem_gb: float | None = None,
    ) -> None:
        self._n_jobs, self._timeout_min, self._mem_gb = n_jobs, timeout_min, mem_gb

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives every launcher.

        Raises:
            ConfigError: if an option is out of range.
        """
        from ttl_lightning.jobs.pool import Pool
        from ttl_lightning.jobs.process import Limits

        self._loader, self._config = hydra_context.config_loader, config
        self._pool = Pool(self._n_jobs, Limits(self._timeout_min, self._mem_gb))
        self._pool.warm_up(Path(config.hydra.runtime.cwd))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs that are given as overrides, as sweepers of others do; see `run`."""
        from ttl_lightning.jobs.job import Job

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        composed = [
            self._loader.load_sweep_config(self._config, list(overrides))
            for overrides in job_overrides
        ]
        known: Known = {}
        jobs = [Job.from_hydra(cfg, known=known) for cfg in composed]
        return [_returned(job, result) for job, result in zip(jobs, self.run(jobs), strict=True)]

    def run(self, jobs: Sequence[Job]) -> list[RunResult | None]:
        """Run the jobs, those that are completed excepted; see `Pool.run`."""
        return self._pool.run(jobs)


def _returned(job: Job, result: RunResult | None) -> JobReturn:
    done = result is not None and result.succeeded
    value = result.metrics.get(job.spec.protocol.monitor) if done and result else None
    error = RuntimeError(result.error if result else "not run")
    return JobReturn(
        overrides=job.overrides,
        cfg=OmegaConf.create(dict(job.spec.values)),
        working_dir=str(job.folder),
        task_name="ttl_lightning",
        status=JobStatus.COMPLETED if done else JobStatus.FAILED,
        _return_value=value if done else error,
    )


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


def launched(launcher: Launcher, jobs: Sequence[Planned], first: int) -> None:
    """Ours takes the jobs as they are; others are told how to make them again."""
    if isinstance(launcher, ProcessLauncher):
        launcher.run([job for job, _ in jobs])
    else:
        launcher.launch([list(overrides) for _, overrides in jobs], first)
