"""ttl_lightning: `ttl.train` with its defaults, but for what is the same for all."""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

import pytorch_lightning as pl
from work import Noted, Work

import ttl_lightning as ttl

STRATEGY = "PEER_STRATEGY"
"""Environment variable: overrides beside the work's, by spaces."""
NOTED = "noted.json"


class Note(pl.Callback):
    """Times epochs and validations, and writes them into the run's folder."""

    def __init__(self) -> None:
        self.noted = Noted()

    def on_train_epoch_start(self, *_: object) -> None:
        """An epoch begins."""
        self.images = 0
        self.noted.begin()

    def on_train_batch_start(self, _t: object, _m: object, batch: dict, _k: int) -> None:
        """A step begins."""
        self.noted.step()
        self.images += len(batch["id"])

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """An epoch is done with its last step: Lightning validates before it says so."""
        if trainer.is_last_batch:
            self.noted.trained(self.images)

    def on_validation_start(self, *_: object) -> None:
        """A validation begins."""
        self.noted.begin()

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """A validation is done."""
        count = len(trainer.val_dataloaders.dataset)
        self.noted.validated(count, float(task.scores["val"].values["auroc"]))

    def on_fit_end(self, trainer: pl.Trainer, *_: object) -> None:
        """What comes after it, the test of the best epoch, is no part of the work."""
        Path(trainer.default_root_dir, NOTED).write_text(self.noted.told())


def main() -> None:
    """Train and validate."""
    work = Work.given()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run = Path(folder, "run")
        result = ttl.train(
            overrides=[
                "data=folder",
                f"data.path={work.folder}",
                f"data.image_size={work.pixels}",
                f"data.batch_size={work.batch}",
                f"data.num_workers={work.workers}",
                f"backbone={work.network}",
                f"backbone.weights={'imagenet' if work.weights else 'null'}",
                f"protocol.learning_rate={work.rate}",
                f"trainer.max_epochs={work.epochs}",
                f"trainer.precision={'auto' if work.precision == 'auto' else '32-true'}",
                "trainer.accelerator=cpu",
                "latency=false",
                "+callbacks.note._target_=with_ours.Note",
                *os.environ.get(STRATEGY, "strategy=ftl").split(),
            ],
            run_dir=run,
        )
        noted = Noted(**json.loads((run / NOTED).read_text()))
    kept = ("precision", "channels_last", "threads")
    noted.settings = {key: str(result.train.get(key)) for key in kept}
    noted.say()


if __name__ == "__main__":
    main()
