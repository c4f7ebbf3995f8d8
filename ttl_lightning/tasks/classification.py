"""Binary, multiclass and multilabel classification as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ttl_lightning.data.samples import Labels
from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.metrics.calibration import calibration
from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.metrics.classification import CLASSES_SCORED, TASKS, metric_keys, score
from ttl_lightning.metrics.operating import RULE, Rule, operating_point
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.class_weights import class_weights as resolved_weights
from ttl_lightning.tasks.classification_report import CLASSIFICATION, MOST_WRONG
from ttl_lightning.tasks.contact_sheet import contact_sheet, worst
from ttl_lightning.tasks.gather import Rows
from ttl_lightning.tasks.hooks import Batch
from ttl_lightning.tasks.judged import Judged
from ttl_lightning.tasks.losses import (
    class_probabilities,
    classification_loss,
    gamma_of,
    kind_of,
    mean_over_views,
    missed_by,
    true_and_predicted,
)
from ttl_lightning.tasks.pictures import png
from ttl_lightning.tasks.reports import TaskReport
from ttl_lightning.tasks.studies import by_study


class ClassificationTask(Task):
    """Trains and scores a classifier; batches are {"image", "label", "id"}.

    Where a batch of validation or test has "study" and "study_label" too, its samples are windows:
    the loss is that of windows, and predictions and scores are those of studies (`by_study`). Where
    it has "views" (N, V, C, *spatial) for "image", a sample's probabilities are the views' mean.

    Args:
        model: (N, C, *spatial) -> (N, classes) logits, and `param_groups(lr=...)`.
        task: "binary" (two classes, two logits), "multiclass" or "multilabel".
        class_names: one a logit; numbers where none are given.
        class_weights: see `classification_loss`.
        loss: "cross_entropy" or "focal".
        focal_gamma: of the focal loss; see `classification_loss`.
        threshold: how a run chooses what a probability must be above for a yes; one of
            `metrics.operating.RULES`, by default the first.
        optimizer: this and all below as in `Task`.
        learning_rate: as in `Task`.
        pretrained_lr_factor: as in `Task`.
        scheduler: as in `Task`.
        scheduler_interval: as in `Task`.
        monitor: as in `Task`.
        lr_floor: as in `Task`.

    Raises:
        ConfigError: an unknown task, loss, interval or monitor, or a number out of range.
    """

    report: ClassVar[TaskReport] = CLASSIFICATION
    remembered = ("task", "class_names")
    suspects = "the images and task.class_weights"
    has_classes = True
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
        threshold: str | None = None,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
        learning_rate: float = 1e-4,
        pretrained_lr_factor: float = 1.0,
        scheduler: Callable[..., LRScheduler | ReduceLROnPlateau] | None = None,
        scheduler_interval: str = "epoch",
        monitor: str | None = None,
        lr_floor: float | None = None,
    ) -> None:
        check_choice("task", task, TASKS)
        super().__init__(
            model,
            optimizer=optimizer,
            learning_rate=learning_rate,
            pretrained_lr_factor=pretrained_lr_factor,
            scheduler=scheduler,
            scheduler_interval=scheduler_interval,
            monitor=monitor,
            lr_floor=lr_floor,
        )
        keys = ("loss", *metric_keys(task, class_names), *(m.name for m in self.report.metrics))
        logged = [f"val/{key}" for key in keys if key != CLASSES_SCORED]
        check_choice("protocol.monitor", self.monitor, logged)
        self.task = task
        self.class_names = tuple(class_names)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._focal_gamma = gamma_of(loss, focal_gamma)
        self.threshold = RULE if threshold is None else str(threshold)
        Rule.of(self.threshold)

    @classmethod
    def check_protocol(cls, protocol: Mapping[str, Any]) -> None:
        """The loss, too, must be one there is."""
        gamma_of(protocol["loss"], protocol["focal_gamma"])
        super().check_protocol(protocol)

    @classmethod
    def settings(
        cls, data: Any, protocol: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Classes are those of the data; the weights `options` asks for are those of training."""
        weights = resolved_weights(
            data.labels("train"), options.get("class_weights"), data.num_classes
        )
        return {
            **options,
            "class_weights": weights,
            "task": kind_of(data),
            "class_names": data.class_names,
            "loss": protocol["loss"],
            "focal_gamma": protocol["focal_gamma"],
        }

    def outputs(self, batch: Batch) -> Tensor:
        """The logits of a batch, (N, classes).

        Raises:
            ConfigError: if there are more or fewer than classes.
        """
        logits = super().outputs(batch)
        if self.class_names and logits.shape[1] != len(self.class_names):
            raise ConfigError(
                f"the model has {logits.shape[1]} outputs, the data has {len(self.class_names)} "
                f"classes: {', '.join(self.class_names)}."
            )
        return logits

    def over_views(self, outputs: Tensor) -> Tensor:
        """The logits of the mean of the views' probabilities."""
        return mean_over_views(outputs, self.task)

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """See `classification_loss`."""
        weights = None if self.class_weights is None else self.class_weights.to(outputs)
        return classification_loss(outputs, batch["label"], self.task, weights, self._focal_gamma)

    def rows(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits and label, and of a window its study's number and label."""
        of_study = {key: batch[key] for key in ("study", "study_label") if key in batch}
        return super().rows(outputs, batch) | of_study

    def table(self, rows: Rows) -> Predictions:
        """The probabilities of samples, of windows those of their studies."""
        probabilities = class_probabilities(torch.from_numpy(rows["outputs"]), self.task).numpy()
        if "study" in rows:
            return by_study(probabilities, rows["study"], rows["study_label"], self.task)
        return Predictions(rows["id"], probabilities, rows["label"])

    def score(self, table: Predictions) -> Scores:
        """See `metrics.classification.score`."""
        count = table.probabilities.shape[1]
        names = self.class_names or tuple(str(index) for index in range(count))
        return score(table.probabilities, table.labels, self.task, names)

    def concluded(self) -> dict[str, Any]:
        """The operating point and the temperature, both chosen on validation."""
        splits = self.predictions
        return {
            "operating": operating_point(self.threshold, splits, self.task, self.class_names),
            "calibration": calibration(splits, self.task),
        }

    def extras(self, data: Any) -> Iterator[tuple[str, bytes]]:
        """A contact sheet of the test samples that are most wrong."""
        table, names = self.predictions["test"], self.class_names
        found, labels = torch.from_numpy(table.probabilities), torch.from_numpy(table.labels)
        missed = missed_by(found, labels, self.task)
        true, decided = true_and_predicted(found, labels, self.task)
        said = {}
        for place in worst(missed.tolist(), table.ids.tolist()):
            right, wrong = int(true[place]), int(decided[place])
            score = float(found[place, wrong])
            text = f"is {names[right]}, {names[wrong]} {score:.2f}"
            if self.task == "multilabel":
                word = "has" if labels[place, right] == 1 else "has no"
                text = f"{word} {names[right]}, {score:.2f}"
            said[int(table.ids[place])] = text
        yield MOST_WRONG, png(contact_sheet(data, "test", said))

    def unlabelled(self, count: int) -> Labels:
        """Of several labels, none is known."""
        if self.task == "multilabel":
            return np.full((count, len(self.class_names)), np.nan, np.float32)
        return super().unlabelled(count)

    def averaged(self, tables: Sequence[Predictions]) -> Predictions:
        """The mean of the models' probabilities."""
        mean = np.mean([table.probabilities for table in tables], axis=0)
        return replace(tables[0], probabilities=mean)

    def judged(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Judged:
        """Of several labels, the one that is most wrong stands for the image."""
        found, labels = class_probabilities(outputs, self.task), batch["label"].cpu()
        true, predicted = true_and_predicted(found, labels, self.task)
        missed = missed_by(found, labels, self.task)
        return Judged(self.class_names, found, true, predicted, missed)

    def probed_head(self, splits: Mapping[str, Iterable[Batch]]) -> dict[str, Any]:
        """Begin the head as the linear probe of its features; see `tasks.probed_head`."""
        # imports scikit-learn, which takes a second, where a probe is asked for
        from ttl_lightning.tasks.probed_head import probed_head

        found = probed_head(cast(TransferModel, self.model), splits, self.task)
        return {"penalty": found.penalty, **found.metrics, "notes": found.notes}

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Predict one batch: "id" (N,) and "probabilities" (N, classes), float64, on the CPU."""
        probabilities = class_probabilities(self.outputs(batch), self.task)
        return {"id": batch["id"].cpu(), "probabilities": probabilities}
