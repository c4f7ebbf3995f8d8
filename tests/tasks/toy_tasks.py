"""Tasks that the package does not have, as a user would write them, and a source for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.parts import mean_parts
from ttl_lightning.metrics.predictions import numbers
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.classification import ClassificationTask
from ttl_lightning.tasks.classification_report import CLASSIFICATION
from ttl_lightning.tasks.reports import Metric, PairedTest, TaskReport


class Brightness(LightningDataModule):
    """Grey noise, each image labelled with a number: how bright it is."""

    def __init__(self, *, seed: int, batch_size: int, image_size: int, **options) -> None:
        super().__init__()
        self.batch_size, self.bad_images, self.notes = batch_size, [], []
        draw = np.random.default_rng(seed)
        self.splits = {}
        for split in ("train", "val", "test"):
            count = options[f"{split}_size"]
            values = draw.random(count).astype(np.float32)
            noise = 0.1 * draw.normal(size=(count, 3, image_size, image_size)).astype(np.float32)
            images = torch.from_numpy(noise + values[:, None, None, None])
            self.splits[split] = [
                {"image": image, "label": torch.tensor(value), "id": torch.tensor(number)}
                for number, (image, value) in enumerate(zip(images, values, strict=True))
            ]

    def sample_ids(self, split: str) -> list[str]:
        return [f"{split}/{number}" for number in range(len(self.splits[split]))]

    def patients(self, split: str) -> None:
        """Nobody says."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.splits["train"], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.splits["val"], self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.splits["test"], self.batch_size)

    def plain_dataloader(self, split: str) -> DataLoader:
        return DataLoader(self.splits[split], self.batch_size)


@dataclass(frozen=True)
class Values:
    ids: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


def columns(table: Values, _described) -> dict[str, list[str]]:
    return {
        "value": [f"{v:.9g}" for v in table.true],
        "prediction": [f"{v:.9g}" for v in table.predicted],
    }


def read(found, _described) -> Scored:
    return Scored(tuple(found["id"]), numbers(found, ["prediction"]), numbers(found, ["value"]))


def mae(table: Scored) -> tuple[float, np.ndarray]:
    return mean_parts(np.abs(table.scores - table.targets)[:, 0])


class Regression(Task):
    report = TaskReport(
        name="toy regression",
        metrics=(
            Metric("mae", "MAE", "min", paired=PairedTest(mae, "its errors", margin=0.01)),
            Metric("r2", "R²"),
        ),
        primary="mae",
        reported=("mae", "r2"),
        columns=columns,
        read=read,
    )

    @classmethod
    def num_outputs(cls, _data) -> int:
        return 1

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return F.mse_loss(outputs[:, 0], batch["label"].to(outputs))

    def table(self, rows) -> Values:
        return Values(rows["id"], rows["outputs"][:, 0], rows["label"])

    def score(self, table: Values) -> Scores:
        errors = table.predicted - table.true
        r2 = 1 - (errors**2).mean() / table.true.var()
        return Scores({"mae": float(np.abs(errors).mean()), "r2": float(r2)}, {})


class WithBrier(ClassificationTask):
    """Classification with a metric more, by which an epoch is chosen."""

    report = replace(
        CLASSIFICATION,
        name="classification with Brier",
        metrics=(*CLASSIFICATION.metrics, Metric("brier", "Brier score", "min")),
        reported=("auprc", "brier"),
    )

    def score(self, table) -> Scores:
        scores = super().score(table)
        truth = np.eye(table.probabilities.shape[1])[table.labels]
        brier = float(((table.probabilities - truth) ** 2).sum(1).mean())
        return Scores({**scores.values, "brier": brier}, scores.notes)
