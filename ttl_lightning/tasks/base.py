"""What every task shares: steps, guards, schedules, and the gathering of a split's samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ttl_lightning.errors import (
    ConfigError,
    DataError,
    NonFiniteLossError,
    check_choice,
    check_number,
)
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.models.frozen import FrozenFeatures
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.tasks.gather import gather
from ttl_lightning.tasks.hooks import Batch, Hooks
from ttl_lightning.tasks.reports import Described, Table
from ttl_lightning.tasks.schedules import create_scheduler

# Reading the loss back from an accelerator stalls it, so there it is read once in so many steps.
LOOK_EVERY = {"cpu": 1}
LOOK_EVERY_ELSEWHERE = 16


class Task(Hooks, pl.LightningModule):
    """Trains and scores a model; batches are {"image", "label", "id"}.

    What is particular to a task its `Hooks` say. Where a batch has "views" (N, V, C, *spatial) for
    "image", a sample's output is that `over_views`.

    After a validation or test epoch `predictions` and `scores` hold, by split, what was predicted
    (each sample once, over all processes) and its metrics; Lightning's log has the same metrics in
    float32, NaN where undefined. `frozen`, where it is set, keeps what frozen units give.

    Args:
        model: (N, C, *spatial) -> outputs (N, ...), and `param_groups(lr=...)`.
        optimizer: takes the model's parameter groups; None where nothing is trained.
        learning_rate: the base rate that the model's groups derive theirs from.
        pretrained_lr_factor: rate of what has pretrained weights, as a multiple of the base rate.
        scheduler: takes the optimizer; and `total_steps`, if it is stepped at every step.
        scheduler_interval: "epoch" or "step".
        monitor: what a ReduceLROnPlateau looks at; by default the report's criterion.
        lr_floor: training ends when the scheduler takes the base rate below this.

    Raises:
        ConfigError: an unknown interval or monitor, or a number out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        learning_rate: float = 1e-4,
        pretrained_lr_factor: float = 1.0,
        scheduler: Callable[..., LRScheduler | ReduceLROnPlateau] | None = None,
        scheduler_interval: str = "epoch",
        monitor: str | None = None,
        lr_floor: float | None = None,
    ) -> None:
        super().__init__()
        if lr_floor is not None:
            check_number("protocol.lr_floor", lr_floor, 0)
        check_choice("protocol.scheduler_interval", scheduler_interval, ("epoch", "step"))
        self.model = model
        self.monitor = self.report.criterion if monitor is None else monitor
        self.predictions: dict[str, Table] = {}
        self.scores: dict[str, Scores] = {}
        self.frozen: FrozenFeatures | None = None
        self._optimizer = optimizer
        self._rates = {"lr": learning_rate, "pretrained_lr_factor": pretrained_lr_factor}
        self._scheduler = scheduler
        self._scheduler_interval = scheduler_interval
        self._lr_floor = lr_floor
        self._loss_sum = torch.zeros(())
        self._loss_count = 0
        self._rows: list[dict[str, Tensor]] = []

    def described(self) -> dict[str, Any]:
        """What a result keeps of the task, so that `restored` makes it again."""
        kept = {key: getattr(self, key) for key in self.remembered}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in kept.items()}

    @classmethod
    def restored(cls, model: nn.Module, described: Described) -> Self:
        """The task of a finished run, to predict with."""
        return cls(model, **{key: described[key] for key in cls.remembered})

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, *spatial) to outputs (N, ...)."""
        return cast(Tensor, self.model(images))

    def outputs(self, batch: Batch) -> Tensor:
        """The outputs of a batch, one a sample."""
        views = batch.get("views")
        if views is None:
            return self._once(batch).float()
        found = self(views.flatten(0, 1)).float()
        return self.over_views(found.reshape(*views.shape[:2], *found.shape[1:]))

    def _once(self, batch: Batch) -> Tensor:
        """The outputs of the batch's images; frozen units compute those that come again once."""
        numbers = batch.get("again")
        split = "train" if self.training else "val"
        if self.frozen is None or numbers is None or not self._fitting():
            return cast(Tensor, self(batch["image"]))
        return self.frozen(batch["image"], split, numbers)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over the model's groups, and its schedule.

        Raises:
            ConfigError: no optimizer, or a schedule that this trainer cannot drive.
        """
        if self._optimizer is None:
            raise ConfigError("the task has no optimizer to be trained with: give it one.")
        groups: Any = cast(TransferModel, self.model).param_groups(**self._rates)
        optimizer = self._optimizer(groups)
        if self._scheduler is None:
            return optimizer
        interval = self._scheduler_interval
        scheduler = create_scheduler(self._scheduler, optimizer, self.trainer, interval)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": interval,
                # A plateau may only be looked for after epochs that were validated.
                "frequency": (self.trainer.check_val_every_n_epoch or 1)
                if isinstance(scheduler, ReduceLROnPlateau)
                else 1,
                "monitor": self.monitor,
            },
        }

    def lr_scheduler_step(
        self, scheduler: LRScheduler | ReduceLROnPlateau, metric: Any | None
    ) -> None:
        """Step the schedule, and end training once it is below the floor."""
        super().lr_scheduler_step(scheduler, metric)
        highest = max(group["lr"] for group in scheduler.optimizer.param_groups)
        if self._lr_floor is not None and highest < self._lr_floor:
            self.trainer.should_stop = True

    def training_step(self, batch: Batch) -> Tensor:
        """Compute the loss of one batch.

        Raises:
            NonFiniteLossError: the loss of this batch is not finite (on an accelerator: of this one
                or of one of the 15 before).
        """
        loss = self.loss(self.outputs(batch), batch)
        samples = len(batch["id"])
        self._loss_sum = self._loss_sum + loss.detach() * samples
        self._loss_count += samples
        if (self.global_step + 1) % LOOK_EVERY.get(loss.device.type, LOOK_EVERY_ELSEWHERE) == 0:
            self._check_loss()
        return loss

    def _check_loss(self) -> None:
        # Once a term is infinite or NaN the sum stays so: it is its own flag.
        if not math.isfinite(self._loss_sum.item()):
            raise NonFiniteLossError(
                f"the training loss is not finite, first seen in epoch {self.current_epoch} at "
                f"step {self.global_step}; lower protocol.learning_rate, or check {self.suspects}."
            )

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self._loss_sum, self._loss_count = torch.zeros((), device=self.device), 0

    def on_train_epoch_end(self) -> None:
        """Log the mean training loss over the epoch's samples."""
        self._check_loss()
        mean = self._loss_sum / max(self._loss_count, 1)
        self.log("train/loss", mean, prog_bar=True, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Start collecting, and let no checkpoint be made of a model whose loss is not finite."""
        self._rows = []
        if self._fitting() and not self.trainer.sanity_checking:
            self._check_loss()

    def on_test_epoch_start(self) -> None:
        """Start collecting."""
        self._rows = []

    def validation_step(self, batch: Batch) -> None:
        """Collect what is kept of one batch."""
        self._collect(batch)

    def test_step(self, batch: Batch) -> None:
        """Collect what is kept of one batch."""
        self._collect(batch)

    def _collect(self, batch: Batch) -> None:
        self._rows.append({"id": batch["id"], **self.rows(self.outputs(batch), batch)})

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Predict one batch: "id" (N,) and "outputs" (N, ...), on the CPU."""
        return {"id": batch["id"].cpu(), "outputs": self.outputs(batch).cpu()}

    def on_validation_epoch_end(self) -> None:
        """Score the validation split.

        Raises:
            NonFiniteLossError: the validation loss, while fitting.
            DataError: the monitored metric is undefined on the split, while fitting.
        """
        loss = self._score("val")
        trial = self.trainer.sanity_checking or self.trainer.fast_dev_run  # type: ignore[attr-defined]
        if trial or not self._fitting():
            return
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the validation loss is not finite in epoch {self.current_epoch} at step "
                f"{self.global_step}; lower protocol.learning_rate, or check the images."
            )
        key = self.monitor.removeprefix("val/")
        reason = self.scores["val"].notes.get(key)
        if reason:
            raise DataError(f"protocol.monitor={self.monitor} on the validation split: {reason}.")

    def on_test_epoch_end(self) -> None:
        """Score the test split."""
        self._score("test")

    def _fitting(self) -> bool:
        return self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING

    def _score(self, split: str) -> float:
        """The split's loss; each sample counts once, though samplers may repeat it."""
        kept, self._rows = self._rows, []
        names = kept[0] if kept else ()
        ours = {key: torch.cat([row[key] for row in kept]).cpu().numpy() for key in names}
        rows = gather(ours or {"id": np.zeros(0, np.int64)})
        if not len(rows["id"]):
            raise DataError(f"there are no samples in the {split} split to score.")
        loss = self.split_loss(rows)
        self.predictions[split] = table = self.table(rows)
        scores = self.score(table)
        values = {"loss": loss if math.isfinite(loss) else None, **scores.values}
        notes = dict(scores.notes)
        if values["loss"] is None:
            notes["loss"] = f"the mean over {len(rows['id'])} samples is {loss}"
        self.scores[split] = Scores(values, notes)
        for key, value in values.items():
            name, number = f"{split}/{key}", math.nan if value is None else float(value)
            self.log(name, number, prog_bar=name == self.monitor, sync_dist=True)
        return loss
