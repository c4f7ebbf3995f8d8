"""Binary, multiclass and multilabel classification as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

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
from ttl_lightning.metrics.classification import CLASSES_SCORED, TASKS, Scores, metric_keys, score
from ttl_lightning.tasks.gather import Predictions, gather
from ttl_lightning.tasks.losses import (
    class_probabilities,
    classification_loss,
    gamma_of,
    mean_over_views,
)
from ttl_lightning.tasks.schedules import create_scheduler
from ttl_lightning.tasks.studies import by_study

# Reading the loss back from an accelerator stalls it, so there it is read once in so many steps.
LOOK_EVERY = {"cpu": 1}
LOOK_EVERY_ELSEWHERE = 16


class SupportsParamGroups(Protocol):
    """A model that says which of its parameters learn at which rate."""

    def param_groups(self, *, lr: float, pretrained_lr_factor: float) -> list[dict[str, Any]]:
        """Groups for an optimizer, each with "params", "lr" and "name"."""
        ...


class ClassificationTask(pl.LightningModule):
    """Trains and scores a classifier; batches are {"image", "label", "id"}.

    Where a batch of validation or test has "study" and "study_label" too, its samples are windows:
    the loss is that of windows, and predictions and scores are those of studies (`by_study`). Where
    it has "views" (N, V, C, *spatial) for "image", a sample's probabilities are the views' mean.

    After a validation or test epoch `predictions` and `scores` hold, by split, what was predicted
    (each sample once, over all processes) and its metrics; Lightning's log has the same metrics in
    float32, NaN where undefined.

    Args:
        model: (N, C, *spatial) -> (N, classes) logits, and `param_groups(lr=...)`.
        task: "binary" (two classes, two logits), "multiclass" or "multilabel".
        class_names: one a logit; numbers where none are given.
        class_weights: see `classification_loss`.
        loss: "cross_entropy" or "focal".
        focal_gamma: of the focal loss; see `classification_loss`.
        optimizer: takes the model's parameter groups.
        learning_rate: the base rate that the model's groups derive theirs from.
        pretrained_lr_factor: rate of what has pretrained weights, as a multiple of the base rate.
        scheduler: takes the optimizer; and `total_steps`, if it is stepped at every step.
        scheduler_interval: "epoch" or "step".
        monitor: what a ReduceLROnPlateau looks at.
        lr_floor: training ends when the scheduler takes the base rate below this.

    Raises:
        ConfigError: an unknown task, loss, interval or monitor, or a number out of range.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        *,
        task: str = "binary",
        class_names: Sequence[str] = (),
        class_weights: Tensor | None = None,
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        learning_rate: float,
        pretrained_lr_factor: float = 1.0,
        scheduler: Callable[..., LRScheduler | ReduceLROnPlateau] | None = None,
        scheduler_interval: str = "epoch",
        monitor: str = "val/auprc",
        lr_floor: float | None = None,
    ) -> None:
        super().__init__()
        check_choice("task", task, TASKS)
        if lr_floor is not None:
            check_number("protocol.lr_floor", lr_floor, 0)
        check_choice("protocol.scheduler_interval", scheduler_interval, ("epoch", "step"))
        logged = [key for key in metric_keys(task, class_names) if key != CLASSES_SCORED]
        check_choice("protocol.monitor", monitor, [f"val/{key}" for key in ("loss", *logged)])
        self.model = model
        self.task = task
        self.class_names = tuple(class_names)
        self.monitor = monitor
        self.predictions: dict[str, Predictions] = {}
        self.scores: dict[str, Scores] = {}
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._focal_gamma = gamma_of(loss, focal_gamma)
        self._optimizer = optimizer
        self._rates = {"lr": learning_rate, "pretrained_lr_factor": pretrained_lr_factor}
        self._scheduler = scheduler
        self._scheduler_interval = scheduler_interval
        self._lr_floor = lr_floor
        self._loss_sum = torch.zeros(())
        self._loss_count = 0
        self._rows: list[tuple[Tensor, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, *spatial) to logits (N, classes)."""
        return cast(Tensor, self.model(images))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over the model's groups, and its schedule.

        Raises:
            ConfigError: a schedule that this trainer cannot drive.
        """
        groups = cast(SupportsParamGroups, self.model).param_groups(**self._rates)
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

    def _step(self, batch: dict[str, Tensor]) -> Tensor:
        views = batch.get("views")
        images = batch["image"] if views is None else views.flatten(0, 1)
        logits: Tensor = self(images).float()
        if self.class_names and logits.shape[1] != len(self.class_names):
            raise ConfigError(
                f"the model has {logits.shape[1]} outputs, the data has {len(self.class_names)} "
                f"classes: {', '.join(self.class_names)}."
            )
        if views is None:
            return logits
        return mean_over_views(logits.reshape(*views.shape[:2], -1), self.task)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute the loss of one batch.

        Raises:
            NonFiniteLossError: the loss of this batch is not finite (on an accelerator: of this one
                or of one of the 15 before).
        """
        loss = self._loss(self._step(batch), batch["label"], self.class_weights)
        samples = len(batch["label"])
        self._loss_sum = self._loss_sum + loss.detach() * samples
        self._loss_count += samples
        if (self.global_step + 1) % LOOK_EVERY.get(loss.device.type, LOOK_EVERY_ELSEWHERE) == 0:
            self._check_loss()
        return loss

    def _loss(self, logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        return classification_loss(logits, labels, self.task, class_weights, self._focal_gamma)

    def _check_loss(self) -> None:
        # Once a term is infinite or NaN the sum stays so: it is its own flag.
        if not math.isfinite(self._loss_sum.item()):
            raise NonFiniteLossError(
                f"the training loss is not finite, first seen in epoch {self.current_epoch} at "
                f"step {self.global_step}; lower protocol.learning_rate, or check the images and "
                "task.class_weights."
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

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        """Collect one batch's logits."""
        self._collect(batch)

    def test_step(self, batch: dict[str, Tensor]) -> None:
        """Collect one batch's logits."""
        self._collect(batch)

    def _collect(self, batch: dict[str, Tensor]) -> None:
        of_study = [batch[key] for key in ("study", "study_label") if key in batch]
        self._rows.append((batch["id"], self._step(batch), batch["label"], *of_study))

    def predict_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Predict one batch: "id" (N,) and "probabilities" (N, classes), float64, on the CPU."""
        probabilities = class_probabilities(self._step(batch), self.task)
        return {"id": batch["id"].cpu(), "probabilities": probabilities}

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
        return self.trainer.state.fn == TrainerFn.FITTING

    def _score(self, split: str) -> float:
        rows = self._rows or [self._no_rows()]
        columns = [torch.cat(column).cpu() for column in zip(*rows, strict=True)]
        self._rows = []
        ids, logits, labels, *of_study = gather(*(column.numpy() for column in columns))
        exact = torch.from_numpy(logits).double()
        weights = None if self.class_weights is None else self.class_weights.cpu().double()
        loss = self._loss(exact, torch.from_numpy(labels), weights).item()
        probabilities = class_probabilities(exact, self.task).numpy()
        table = Predictions(ids, probabilities, labels)
        if of_study:
            studies, study_labels = of_study
            table = by_study(probabilities, studies, study_labels, self.task)
        names = self.class_names or tuple(str(index) for index in range(logits.shape[1]))
        self.predictions[split] = table
        scores = score(table.probabilities, table.labels, self.task, names)
        values = {"loss": loss if math.isfinite(loss) else None, **scores.values}
        notes = dict(scores.notes)
        if values["loss"] is None:
            notes["loss"] = f"the mean over {len(ids)} samples is {loss}"
        self.scores[split] = Scores(values, notes)
        for key, value in values.items():
            name, number = f"{split}/{key}", math.nan if value is None else float(value)
            self.log(name, number, prog_bar=name == self.monitor, sync_dist=True)
        return loss

    def _no_rows(self) -> tuple[Tensor, ...]:
        classes = len(self.class_names)
        several = self.task == "multilabel"
        labels = torch.zeros(0, classes) if several else torch.zeros(0, dtype=torch.int64)
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, classes), labels
