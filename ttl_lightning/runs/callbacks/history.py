"""One row an epoch in `metrics.csv`, whatever logger is chosen, whole also after a resume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ttl_lightning.records.files import csv_text, write_atomically
from ttl_lightning.records.history import Row


class History(Checkpoint):
    """Collects each epoch's metrics, learning rates and time; writes them as a table.

    Lightning calls what derives from its `Checkpoint` after the task's own hook, which logs
    `train/loss`.

    Attributes:
        rows: one dict an epoch: `epoch`, `step`, `lr-<group>`, `seconds`, and every logged metric.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self.images = 0
        self._start = self._seconds = 0.0
        self._rates: Row = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time, and the rates that the epoch starts with."""
        self._start, self.images = time.perf_counter(), 0
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._rates = {f"lr-{group['name']}": float(group["lr"]) for group in groups}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the images, and the time of training alone."""
        self.images += len(batch["id"])
        self._seconds = time.perf_counter() - self._start

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row and write the table."""
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": self._seconds,
        }
        self.rows.append({**row, "images": self.images, **self._rates, **values})
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write all rows; a column for every key that any row has."""
        keys = list(dict.fromkeys(key for row in self.rows for key in row))
        rows = ([row.get(key) for key in keys] for row in self.rows)
        write_atomically(self.path, csv_text(keys, rows).encode())

    def images_per_s(self) -> float | None:
        """Training images a second of this process, over all epochs but the first of several."""
        rows = self.rows[1:] or self.rows
        seconds = sum(row["seconds"] for row in rows)
        return sum(row["images"] for row in rows) / seconds if seconds else None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the epochs before."""
        self.rows = state_dict["rows"]
