"""Counts a model's parameters and MACs when training starts, and hands them to the logger."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ttl_lightning.analysis.complexity import Complexity, complexity


class ComplexityCallback(Callback):
    """Holds the model's cost as `result`, for scripts that drive Lightning's Trainer themselves.

    Args:
        input_size: `(C, *spatial)` of one input.
    """

    def __init__(self, input_size: Sequence[int]) -> None:
        self.input_size = tuple(input_size)
        self.result: Complexity | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count, and log `complexity/params` and `complexity/macs`."""
        self.result = complexity(pl_module, self.input_size, latency=False)
        if trainer.logger is not None:
            counts = {"params": self.result.params, "macs": self.result.macs}
            trainer.logger.log_metrics(
                {f"complexity/{k}": float(v) for k, v in counts.items()}, step=0
            )
