"""One run, alone in its process: a command line's, a job's, and that of each rank of a job."""

from __future__ import annotations

import base64
import os
import pickle
import sys
import zlib
from pathlib import Path
from typing import cast

from hydra._internal.callbacks import Callbacks
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext
from hydra.version import setbase
from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import TTLError
from ttl_lightning.jobs.process import Call, Command, Task
from ttl_lightning.jobs.server import die_with_parent
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.build import device
from ttl_lightning.runs.fit import train
from ttl_lightning.runs.record import clear
from ttl_lightning.runtime.ending import told

# Holds a job's configuration: the ranks that Lightning starts have it from their job.
CARRIED = "TTL_LIGHTNING_JOB"


@told()
def run(cfg: DictConfig, settings: HydraConf) -> RunResult:
    """Run a configuration in the folder that Hydra made; a user's mistake is one line.

    Raises:
        SystemExit: where it could not begin, or its loss became infinite or NaN.
    """
    folder = Path(settings.runtime.output_dir)
    try:
        return train(cfg, overrides=settings.overrides.task, run_dir=folder)
    except TTLError:
        clear(folder)  # Hydra made it before anything was checked
        raise
    except KeyboardInterrupt as stop:
        kept = RunFolder(folder).result.is_file()
        stop.add_note(
            f"the same command with hydra.run.dir={folder} goes on from here"
            if kept
            else "nothing had begun"
        )
        clear(folder)
        raise


def task_of(composed: DictConfig, spec: RunSpec) -> Task:
    """What runs a job: a fork if it may be one, else an interpreter of its own.

    Args:
        composed: the job's configuration, with Hydra's node, which names its folder.
        spec: the same, without it.
    """
    if forks(spec):
        return Call(perform, (composed,))
    carried = base64.b64encode(zlib.compress(pickle.dumps(composed))).decode()
    return Command((sys.executable, "-m", __name__), {CARRIED: carried})


def forks(spec: RunSpec) -> bool:
    """Whether a run may be a fork: no GPU is in play, and it starts no ranks, as commands do."""
    trainer = spec.trainer
    devices = config.wanted_devices(trainer.accelerator, trainer.devices)
    single = devices == 1 and trainer.options.get("num_nodes", 1) == 1
    return single and trainer.accelerator in ("auto", "cpu") and device(spec).type == "cpu"


def perform(composed: DictConfig) -> None:
    """Run a job as Hydra would, had it composed the configuration here."""
    setbase(config.VERSION_BASE)
    setup_globals()
    context = HydraContext(cast(ConfigLoader, None), Callbacks(composed))  # nothing to be loaded
    done = run_job(
        task_function=lambda cfg: run(cfg, HydraConfig.get()),
        config=composed,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=context,
    )
    _ = done.return_value  # raises what the run did


def main() -> None:
    """In a process of its own; further arguments are what Lightning gives a rank."""
    die_with_parent()
    perform(pickle.loads(zlib.decompress(base64.b64decode(os.environ[CARRIED]))))


if __name__ == "__main__":
    main()
