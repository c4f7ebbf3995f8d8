"""Every option once: its type and what it may be. Imports nothing heavy, so it is asked first.

Its default is the value in `conf/`, its help the comment there. Of `data`, and of what a `_target_`
names, the constructors say themselves what they take; see `runs.check`, which tries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from ttl_lightning.config import rules
from ttl_lightning.config.rules import MOST_EPOCHS, Rule

Options = Mapping[str, Any]
"""A `_target_` with what it takes, or a whole group that is open for such."""
Name = Annotated[str | int | float, rules.name]
Text = Annotated[str, rules.text]
TextOrNull = Annotated[str | None, rules.or_null(rules.text)]
Flag = Annotated[bool, rules.flag]
Taken = Annotated[Options, rules.options]
Epochs = Annotated[int, rules.whole(1, MOST_EPOCHS)]
BatchSize = Annotated[int, rules.whole(1, 65536)]
LOSSES = ("cross_entropy", "focal", "dice_ce", "dice", "mse", "mae", "huber")
Batches = Annotated[int | float, rules.share_of_batches]


@dataclass(frozen=True, slots=True)
class Backbone:
    """`backbone`."""

    name: Text
    weights: TextOrNull


@dataclass(frozen=True, slots=True)
class Strategy:
    """`strategy`."""

    name: Text
    pooling: Flag


@dataclass(frozen=True, slots=True)
class Data:
    """`data`: what every source has, and all that this one has in `options`."""

    options: Options
    name: Name
    in_channels: Annotated[int, rules.whole(1, 4096)]
    image_size: int | list[int]
    batch_size: BatchSize | None = None
    patch_size: int | None = None

    @property
    def spatial(self) -> list[int]:
        """The spatial size of the network's input, of images seen by patches that of a patch."""
        return spatial(self.patch_size or self.image_size)


@dataclass(frozen=True, slots=True)
class Task:
    """`task`: what every task has, and all that this one has in `options`."""

    options: Options
    class_weights: Annotated[str | list[float] | None, rules.or_null(rules.class_weights)] = None
    head: Text = "linear"


@dataclass(frozen=True, slots=True)
class Protocol:
    """`protocol`."""

    optimizer: Taken
    learning_rate: Annotated[float, rules.number(1e-12, 1e30)]
    pretrained_lr_factor: Annotated[float, rules.number(0)]
    head_init: Annotated[str, rules.one_of("random", "zero", "probe")]
    loss: Annotated[str, rules.one_of(*LOSSES)]
    focal_gamma: Annotated[float, rules.number(0, 100)]
    scheduler: Annotated[Options | None, rules.or_null(rules.options)]
    scheduler_interval: Annotated[str, rules.one_of("epoch", "step")]
    monitor: Text
    monitor_mode: Annotated[str, rules.one_of("min", "max")]
    lr_floor: Annotated[float | None, rules.or_null(rules.number(0))]
    max_epochs: Epochs
    batch_size: BatchSize
    augment: Taken


@dataclass(frozen=True, slots=True)
class Trainer:
    """`trainer`: what is asked of here, and all that Lightning's takes in `options`."""

    options: Options
    accelerator: Text
    devices: Annotated[int | str | list[int], rules.devices]
    max_epochs: Epochs
    threads: Annotated[int | str, rules.threads]
    precision: Annotated[str | int, rules.precision]
    channels_last: Annotated[bool | None, rules.or_null(rules.flag)]
    batch_size_finder: Annotated[str | None, rules.or_null(rules.one_of("power", "binsearch"))]
    keep_frozen: Flag
    gradient_checkpointing: Flag
    gradient_clip_val: Annotated[float | None, rules.or_null(rules.number(1e-12))]
    accumulate_grad_batches: Epochs
    check_val_every_n_epoch: Epochs
    deterministic: Annotated[bool | str, rules.flag_or(rules.one_of("warn"))]
    fast_dev_run: Annotated[bool | int, rules.flag_or(rules.whole(0, MOST_EPOCHS))]
    limit_train_batches: Batches
    limit_val_batches: Batches
    limit_test_batches: Batches


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run's data and the model that it begins with are made of."""

    seed: int
    cutoff: str | int | None
    backbone: Backbone
    strategy: Strategy
    data: Data
    augment: Options
    head: str = "linear"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run's whole configuration, checked; `values` are the same as `config.yaml` has them."""

    values: Options
    seed: Annotated[int, rules.whole(0, 2**32 - 1)]
    name: Name
    cutoff: Annotated[str | int | None, rules.or_null(rules.cutoff)]
    resume: Annotated[str, rules.one_of("auto", "never")]
    until_epoch: Annotated[int | None, rules.or_null(rules.whole(1, MOST_EPOCHS))]
    latency: Flag
    figures: Annotated[list[str], rules.kinds_of_figures]
    backbone: Backbone
    strategy: Strategy
    data: Annotated[Data, rules.options]
    task: Annotated[Task, rules.options]
    protocol: Protocol
    trainer: Annotated[Trainer, rules.options]
    logger: Annotated[Options, rules.logger]
    callbacks: Annotated[Options, rules.callbacks] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """What its data and its first model are made of."""
        parts = self.seed, self.cutoff, self.backbone, self.strategy, self.data
        return Recipe(*parts, self.protocol.augment, self.task.head)

    @property
    def channels_last(self) -> bool | None:
        """Whether convolutions lay their channels last."""
        said = self.trainer.channels_last
        return channels_last(self.trainer.precision, self.data.image_size, said=said)


def spatial(image_size: int | list[int]) -> list[int]:
    """The spatial size of an input: sources of images give one number for both sides.

    >>> spatial(64), spatial([16, 48, 48])
    ([64, 64], [16, 48, 48])
    """
    return list(image_size) if isinstance(image_size, list) else [image_size, image_size]


def channels_last(
    precision: str | int, image_size: int | list[int], *, said: bool | None
) -> bool | None:
    """Whether convolutions lay their channels last; None where `precision=auto` measures.

    Where `trainer.channels_last` does not say it, those on images do, which are faster so, and
    those on volumes do not: a rule, since what is measured differs from machine to machine.
    """
    if said is None and precision != "auto":
        return len(spatial(image_size)) == 2
    return said


# Keys of `data` that some sources have.
OF_SOURCES: dict[str, Rule] = {
    **{f"data.{key}": rules.text for key in ("dataset", "path_column", "study_column")},
    **{f"data.{key}": rules.or_null(rules.text) for key in ("cache_dir", "path", "root", "labels")},
    **{
        f"data.{key}_column": rules.or_null(rules.text)
        for key in ("split", "patient", "slice", "abnormal")
    },
    "data.label_columns": rules.texts,
    "data.classes": rules.or_null(rules.names),
}
