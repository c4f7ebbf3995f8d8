"""Regression: one or several numbers of each image or study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ttl_lightning.data.samples import Labels
from ttl_lightning.errors import ConfigError, check_choice
from ttl_lightning.metrics.regression import Numbers, score
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.classification_report import MOST_WRONG
from ttl_lightning.tasks.contact_sheet import contact_sheet, worst
from ttl_lightning.tasks.gather import Rows
from ttl_lightning.tasks.hooks import Batch
from ttl_lightning.tasks.pictures import png
from ttl_lightning.tasks.regression_report import REGRESSION

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}
"""Of targets less their training mean, over their training deviation."""


class RegressionTask(Task):
    """Trains and scores a model of numbers; batches are {"image", "label", "id"}.

    The model sees each target as its distance from the training mean, in training deviations, so
    that a target's unit bears on nothing; predictions and scores are in the targets' own units. Of
    studies that are seen by windows, a study's prediction is its windows' mean.

    Args:
        model: (N, C, *spatial) -> (N, targets).
        targets: their names.
        center: training mean of each.
        spread: training deviation of each.
        loss: one of `LOSSES`; a target that is not known, NaN, counts nowhere.
        shared: as in `Task`.

    Raises:
        ConfigError: an unknown loss or monitor, or a number out of range.
    """

    report = REGRESSION
    remembered = ("targets", "center", "spread")
    suspects = "the images and the targets"
    fewest_outputs = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        targets: Sequence[str],
        center: Sequence[float],
        spread: Sequence[float],
        loss: str = "mse",
        **shared: Any,
    ) -> None:
        super().__init__(model, **shared)
        check_choice("protocol.loss", loss, LOSSES)
        self.targets, self._loss = tuple(targets), LOSSES[loss]
        self.center, self.spread = tuple(map(float, center)), tuple(map(float, spread))

    @property
    def class_names(self) -> tuple[str, ...]:
        """One an output, by which other data's columns are found."""
        return self.targets

    @classmethod
    def check_protocol(cls, protocol: Mapping[str, Any]) -> None:
        """The loss, too, must be one there is."""
        check_choice("protocol.loss", protocol["loss"], LOSSES)
        super().check_protocol(protocol)

    @classmethod
    def settings(
        cls, data: Any, protocol: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Targets are the data's columns; mean and deviation are those of training.

        Raises:
            ConfigError: if the data have no numbers.
        """
        if not data.measured:
            raise ConfigError("task=regression needs numbers, and these data have classes.")
        labels = data.labels("train").astype(np.float64)
        return {
            **options,
            "targets": data.class_names,
            "center": np.nanmean(labels, axis=0).tolist(),
            "spread": np.nanstd(labels, axis=0).tolist(),
            "loss": protocol["loss"],
        }

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The mean over the values that are known."""
        wanted = (batch["label"].to(outputs) - self._row(self.center, outputs)) / self._row(
            self.spread, outputs
        )
        known = ~wanted.isnan()
        entries = self._loss(outputs, torch.where(known, wanted, outputs), reduction="none")
        return entries.sum() / known.sum().clamp(min=1)

    @staticmethod
    def _row(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)

    def rows(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Output and label, and of a window its study's number and label."""
        of_study = {key: batch[key] for key in ("study", "study_label") if key in batch}
        return super().rows(outputs, batch) | of_study

    def table(self, rows: Rows) -> Numbers:
        """In the targets' units."""
        outputs = rows["outputs"].astype(np.float64)
        predicted = outputs * np.array(self.spread) + np.array(self.center)
        if "study" not in rows:
            return Numbers(rows["id"], predicted, rows["label"].astype(np.float64))
        ids, first, window = np.unique(rows["study"], return_index=True, return_inverse=True)
        sums = np.zeros((len(ids), predicted.shape[1]))
        np.add.at(sums, window, predicted)
        means = sums / np.bincount(window)[:, None]
        return Numbers(ids, means, rows["study_label"][first].astype(np.float64))

    def score(self, table: Numbers) -> Scores:
        """See `metrics.regression.score`."""
        return score(table, self.targets)

    def extras(self, data: Any) -> Iterator[tuple[str, bytes]]:
        """A contact sheet of the test samples with the largest errors, in training deviations."""
        table = self.predictions["test"]
        errors = np.abs(table.predicted - table.true) / np.array(self.spread)
        missed = np.nan_to_num(errors, nan=-1.0).max(axis=1)
        said = {}
        for place in worst(missed.tolist(), table.ids.tolist()):
            target = int(np.nan_to_num(errors[place], nan=-1.0).argmax())
            values = table.true[place, target], table.predicted[place, target]
            text = "{} {:.4g}, predicted {:.4g}".format(self.targets[target], *values)
            said[int(table.ids[place])] = text
        yield MOST_WRONG, png(contact_sheet(data, "test", said))

    def unlabelled(self, count: int) -> Labels:
        """None is known."""
        return np.full((count, len(self.targets)), np.nan, np.float32)

    def averaged(self, tables: Sequence[Numbers]) -> Numbers:
        """The mean of the models' predictions."""
        return replace(tables[0], predicted=np.mean([one.predicted for one in tables], axis=0))

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Predict one batch: "id" (N,) and "values" (N, targets), float64, on the CPU."""
        outputs = self.outputs(batch).cpu().double()
        values = outputs * self._row(self.spread, outputs) + self._row(self.center, outputs)
        return {"id": batch["id"].cpu(), "values": values}
