"""The largest batch that memory holds, found by Lightning's own finder on a trainer of its own."""

from __future__ import annotations

import contextlib
import copy
import resource
import sys
import tempfile
from collections.abc import Iterator

import psutil
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner.tuning import Tuner

from ttl_lightning.errors import ConfigError

# Of the memory that is free: the rest is for what else the machine does meanwhile.
USABLE = 0.8


def fitted_batch_size(
    task: pl.LightningModule, data: pl.LightningDataModule, finder: str, precision: str, device: str
) -> int:
    """Double `data.batch_size` until training steps no longer fit; "binsearch" then refines.

    The task stays as it was, and so do the random generators. On a CPU, where the system would kill
    what takes too much, memory is limited to most of what is free.

    Args:
        task: trained by copies.
        data: set up; its `batch_size` is where the search begins, and is changed to what it finds.
        finder: "power" or "binsearch", as Lightning calls them.
        precision: Lightning's name of it.
        device: "cpu", "cuda", ….

    Raises:
        ConfigError: if no batch fits.
    """
    with tempfile.TemporaryDirectory() as folder, _limited(device):
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            precision=precision,  # type: ignore[arg-type] # checked by Lightning
            default_root_dir=folder,
            max_epochs=1,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        with torch.random.fork_rng():
            found = Tuner(trainer).scale_batch_size(
                copy.deepcopy(task), datamodule=data, mode=finder, init_val=2, steps_per_trial=2
            )
    if not found or found < 1:
        raise ConfigError(f"trainer.batch_size_finder={finder} found no batch that fits {device}.")
    return int(found)


@contextlib.contextmanager
def _limited(device: str) -> Iterator[None]:
    """Make too large a batch an error that the finder knows, where it would be a killed process."""
    if device != "cpu" or sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = psutil.Process().memory_info().data
    most = used + int(USABLE * psutil.virtual_memory().available)
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
