"""ttl_lightning: `ttl.train` with its defaults, but for what is the same for all."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from work import Noted, Work

STRATEGY = "PEER_STRATEGY"
"""Environment variable: overrides beside the work's, by spaces."""


def main() -> None:
    """Train and validate."""
    work, noted = Work.given(), Noted()
    import pytorch_lightning as pl

    import ttl_lightning as ttl

    class Note(pl.Callback):
        """Times epochs and validations."""

        def on_train_epoch_start(self, *_: object) -> None:
            """An epoch begins."""
            self.images = 0
            noted.begin()

        def on_train_batch_start(self, _t: object, _m: object, batch: dict, _k: int) -> None:
            """A step begins."""
            noted.step()
            self.images += len(batch["id"])

        def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
            """An epoch is done with its last step: Lightning validates before it says so."""
            if trainer.is_last_batch:
                noted.trained(self.images)

        def on_validation_start(self, *_: object) -> None:
            """A validation begins."""
            noted.begin()

        def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
            """A validation is done."""
            count = len(trainer.val_dataloaders.dataset)
            noted.validated(count, float(task.scores["val"].values["auroc"]))

    Notes.note = Note()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
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
                "+callbacks.note._target_=with_ours.noting",
                *os.environ.get(STRATEGY, "strategy=ftl").split(),
            ],
            run_dir=Path(folder, "run"),
        )
    kept = ("precision", "channels_last", "threads")
    noted.settings = {key: str(result.train.get(key)) for key in kept}
    noted.say()


class Notes:
    """Where the callback lies that the run is given by name."""

    note = None


def noting():  # noqa: ANN201
    """The callback."""
    import __main__

    return __main__.Notes.note


if __name__ == "__main__":
    main()
