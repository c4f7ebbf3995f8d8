"""What a task says of itself; everything else it shares with the others, see `tasks.base`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.data.samples import Labels
from ttl_lightning.errors import ConfigError
from ttl_lightning.metrics.scores import Scores
from ttl_lightning.tasks.gather import Rows
from ttl_lightning.tasks.judged import Judged
from ttl_lightning.tasks.registry import register
from ttl_lightning.tasks.reports import Table, TaskReport

Batch = dict[str, Tensor]


class Hooks(ABC):
    """What the loss is, what is kept of each sample, and what becomes of it.

    The `rows` that are kept of a split's samples make its predictions (`table`), and these its
    metrics (`score`).

    Attributes:
        report: declares metrics and predictions; a class that has its own is known by its name.
        remembered: arguments, kept as attributes, that a finished run is built again with.
        suspects: what to check where the loss is not finite.
        has_classes: whether images have classes, which linear probes of features can be fitted to.
        fewest_outputs: of a model for any data, as costs are counted without any.
    """

    report: ClassVar[TaskReport]
    remembered: ClassVar[tuple[str, ...]] = ()
    suspects: ClassVar[str] = "the images"
    fewest_outputs: ClassVar[int] = 2
    has_classes: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "report" in cls.__dict__:
            register(cls.report, cls)

    @classmethod
    def check_protocol(cls, protocol: Mapping[str, Any]) -> None:
        """Find what the task cannot do with a configuration's protocol, before data are read.

        Raises:
            ConfigError: naming the key.
        """
        cls.report.check_monitor(protocol["monitor"], protocol["monitor_mode"])

    @classmethod
    def num_outputs(cls, data: Any) -> int:
        """How many outputs the model must have for the data."""
        return int(data.num_classes)

    @classmethod
    def settings(
        cls, data: Any, protocol: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The arguments that are not about the optimizer, as data and protocol decide them.

        Args:
            data: set up.
            protocol: the configuration's.
            options: the configuration's `task`, without its `_target_`.

        Raises:
            TTLError: if they do not fit each other.
        """
        del data, protocol
        return dict(options)

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The mean loss over samples.

        Args:
            outputs: the model's, (N, ...), float32; or a whole split's, float64 on the CPU.
            batch: has what `rows` keeps.
        """

    @abstractmethod
    def table(self, rows: Rows) -> Table:
        """The predictions of a split, which have `ids`, (n,).

        Args:
            rows: what was kept of each sample, sorted by `id`.
        """

    @abstractmethod
    def score(self, table: Table) -> Scores:
        """The metrics of a split's predictions, those of the report at least."""

    def rows(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is kept of each sample: by default its output and its label.

        A task that keeps no outputs has a `split_loss` of its own.
        """
        return {"outputs": outputs, "label": batch["label"]}

    def split_loss(self, rows: Rows) -> float:
        """The mean loss over the samples of a split."""
        tensors = {key: torch.from_numpy(column) for key, column in rows.items()}
        return self.loss(tensors["outputs"].double(), tensors).item()

    def extras(self, data: Any) -> Iterator[tuple[str, bytes]]:
        """Further files of a run that is scored, by their paths in its folder: by default none.

        Args:
            data: the run's; `predictions` and `scores` are of its splits.
        """
        del data
        return iter(())

    def concluded(self) -> dict[str, Any]:
        """What a result keeps, by its fields, of how predictions are used: by default nothing.

        `predictions` has the validation split, by which it is chosen, and the test split.
        """
        return {}

    def unlabelled(self, count: int) -> Labels:
        """Labels of samples of which nothing is known, in the form that the task's have."""
        return np.zeros(count, np.int64)

    def averaged(self, tables: Sequence[Table]) -> Table:
        """The predictions of several models of the same samples, as one.

        Raises:
            ConfigError: if the task does not tell.
        """
        raise ConfigError(f"runs of the task {self.report.name} are not averaged: give one run.")

    def over_views(self, outputs: Tensor) -> Tensor:
        """Outputs of several views of each sample, (N, V, ...), as one of it, (N, ...)."""
        return outputs.mean(1)

    @classmethod
    def check_probed(cls) -> None:
        """Demand classes that linear probes can be fitted to.

        Raises:
            ConfigError: if the task has none.
        """
        if not cls.has_classes:
            raise ConfigError(
                "a linear probe reads an image's class from its features, and the task "
                f"{cls.report.name} has no classes of images."
            )

    def judged(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> Judged:
        """What outputs say of images, beside what is true.

        Raises:
            ConfigError: if the task does not tell.
        """
        raise ConfigError(f"Grad-CAM explains classes or masks, not the task {self.report.name}.")

    def excerpt(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of a batch what has the size that was trained on, for analyses: by default all of it."""
        return dict(batch)

    def probed_head(self, splits: Mapping[str, Iterable[Batch]]) -> dict[str, Any]:
        """Begin the head as a linear probe of its features, and say what it reaches.

        Args:
            splits: `train` and `val`, prepared as for evaluation; the model is where it computes.

        Raises:
            ConfigError: if the task has no such probe.
        """
        raise ConfigError(
            f"protocol.head_init=probe is not for the task {self.report.name}: give random or zero."
        )
