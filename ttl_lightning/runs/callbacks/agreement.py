"""Ranks of one run agree: on the configuration, and on the model that is validated."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from ttl_lightning.errors import ConfigError


class SameConfig(Callback):
    """Compares the configuration's fingerprint over all ranks when fitting starts.

    Args:
        fingerprint: SHA-256 as hexadecimal digits.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather and compare.

        Raises:
            ConfigError: if a rank has another configuration, on every rank.
        """
        if trainer.world_size == 1:
            return
        own = torch.tensor(list(bytes.fromhex(self.fingerprint)), device=pl_module.device)
        gathered = trainer.strategy.all_gather(own.to(torch.int64))
        if (gathered != gathered[0]).any():
            raise ConfigError(
                "the processes of this run were given different configurations: start all of them "
                "with the same command."
            )


class SameBuffers(Callback):
    """Validates one model: DistributedDataParallel leaves each rank its own running statistics.

    Rank 0's are copied to all, as DistributedDataParallel itself does before each training step:
    they are what a checkpoint holds.
    """

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy rank 0's buffers to all ranks."""
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, 0)
