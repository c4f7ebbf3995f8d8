"""Progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint, RichProgressBar

log = logging.getLogger(__name__)


# True, and no news to a person who started a run.
BESIDE_THE_POINT = (
    ".*does not have many workers.*",
    "Found .* module.* in eval mode at the start of training.*",
    "Checkpoint directory .* exists and is not empty.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*torch.jit.* is deprecated.*",
    ".*available but not used.*",
    ".*number of training batches .* is smaller than the logging interval.*",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's announcements, and warnings that nobody can act on, off the terminal."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in BESIDE_THE_POINT:
            warnings.filterwarnings("ignore", message=message)
        try:
            yield
        finally:
            logger.setLevel(level)


class PlainProgress(Checkpoint):
    """One line an epoch, for logs and pipes; called late, as `History` is."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's losses and the monitored metric."""
        keys = dict.fromkeys(("train/loss", "val/loss", self.monitor))
        values = trainer.callback_metrics
        shown = ", ".join(f"{key} {float(values[key]):.4f}" for key in keys if key in values)
        # counted as the bar, metrics.csv and best_epoch count
        last = (trainer.max_epochs or 0) - 1
        log.info("epoch %d/%d: %s", trainer.current_epoch, last, shown)


def progress(monitor: str) -> Callback:
    """Rich's bar if a person is watching, else plain lines."""
    return RichProgressBar(leave=False) if watched() else PlainProgress(monitor)


def watched() -> bool:
    """Whether a person looks at the output, and not a file or another program."""
    return sys.stdout.isatty()
