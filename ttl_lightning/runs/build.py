"""What a run is made of, built from its configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate

from ttl_lightning.config import compose as config
from ttl_lightning.config.ranks import made_of
from ttl_lightning.config.schema import Options, Recipe, RunSpec
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import Loading
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.registry import made
from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.factory import pixel_statistics
from ttl_lightning.models.create import create_model
from ttl_lightning.models.frozen import FrozenFeatures
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.runs.callbacks.agreement import SameBuffers, SameConfig
from ttl_lightning.runs.callbacks.checkpoints import (
    AtomicCheckpointIO,
    LastCheckpoint,
    best_checkpoint,
)
from ttl_lightning.runs.callbacks.history import History
from ttl_lightning.runs.callbacks.progress import progress, watched
from ttl_lightning.runs.parts import (
    callbacks_of,
    logger_of,
    naming,
    optimizer_of,
    scheduler_of,
    task_class,
    task_options,
    trainer_of,
)
from ttl_lightning.runtime.batch_size import fitted_batch_size
from ttl_lightning.runtime.loaders import workers
from ttl_lightning.runtime.memory import free_memory
from ttl_lightning.runtime.precision import Choice, choose, to_channels_last
from ttl_lightning.tasks.base import Task

log = logging.getLogger(__name__)

# Of the memory that is free: what features of frozen units may take.
KEPT_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    data: DataModule
    task: Task
    trainer: pl.Trainer
    history: History
    last: LastCheckpoint
    choice: Choice

    @property
    def model(self) -> TransferModel:
        """What is trained."""
        return cast(TransferModel, self.task.model)

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return self.trainer.strategy.root_device

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen for this machine, which a run that goes on keeps."""
        timings = self.choice.timings_ms
        return {
            "precision": self.choice.precision,
            "channels_last": self.choice.channels_last,
            **({"precision_timings_ms": timings} if timings else {}),
            "devices": self.trainer.world_size,
            "batch_size": self.data.batch_size,
            **_loaders(self.data),
        }


def assemble(
    spec: RunSpec, there: RunFolder, data: DataModule, fingerprint: str, earlier: Options
) -> Parts:
    """Build model, task and trainer.

    Args:
        spec: the run's.
        there: its folder.
        data: set up.
        fingerprint: of the run, which all of its processes must have.
        earlier: the settings that it began with, if it goes on.

    Raises:
        TTLError: if data, weights or settings cannot be used.
    """
    kind, protocol, others = task_class(spec), spec.protocol, callbacks_of(spec)
    model = initial_model(spec.recipe, kind.num_outputs(data))
    task = kind(
        model,
        optimizer=optimizer_of(spec),
        learning_rate=protocol.learning_rate,
        pretrained_lr_factor=protocol.pretrained_lr_factor,
        scheduler=scheduler_of(spec),
        scheduler_interval=protocol.scheduler_interval,
        monitor=protocol.monitor,
        lr_floor=protocol.lr_floor,
        **kind.settings(data, spec.values["protocol"], task_options(spec)),
    )
    for loaders in _loaders(data).values():
        log.info("loaders: %d processes each", loaders)
    choice = _precision(spec, data.batch_size, model, earlier)
    if choice.channels_last:
        to_channels_last(model)
    task.frozen = _frozen(spec, model)
    if spec.trainer.gradient_checkpointing:
        if model.backbone.flow.generic:
            raise ConfigError(
                f"trainer.gradient_checkpointing: backbone={spec.backbone.name} computes all of "
                "its units in one call; leave it false."
            )
        model.backbone.recomputes = True
    best = best_checkpoint(there.best, protocol.monitor, protocol.monitor_mode, others)
    last = LastCheckpoint(there.last, until_epoch=spec.until_epoch)
    same, history = (SameConfig(fingerprint), SameBuffers()), History(there.history)
    trainer = trainer_of(
        spec,
        precision=choice.precision,
        default_root_dir=str(there.path),
        callbacks=[*same, best, history, last, progress(protocol.monitor), *others],
        plugins=[AtomicCheckpointIO()],
        logger=logger_of(spec, there.path),
        enable_model_summary=False,
        enable_progress_bar=watched(),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    _check_devices(spec, trainer.world_size, earlier.get("devices"))
    if spec.trainer.batch_size_finder is not None:
        data.batch_size = _batch_size(spec.trainer.batch_size_finder, data, task, trainer, earlier)
    return Parts(data, task, trainer, history, last, choice)


def network(recipe: Recipe, num_classes: int, weights: str | None) -> TransferModel:
    """A run's network, with these weights.

    Raises:
        TTLError: if the network or its weights cannot be had.
    """
    return create_model(
        recipe.backbone.name,
        recipe.strategy.name,
        recipe.cutoff,
        num_classes,
        weights,
        pooling=recipe.strategy.pooling,
        in_channels=recipe.data.in_channels,
        image_size=recipe.data.spatial,
        head=recipe.head,
    )


def initial_model(recipe: Recipe, num_classes: int) -> TransferModel:
    """The model that a run begins with: the same each time, as it seeds the random generators.

    Raises:
        TTLError: if the network or its weights cannot be had.
    """
    pl.seed_everything(recipe.seed, workers=True, verbose=False)
    return network(recipe, num_classes, recipe.backbone.weights)


def create_data(recipe: Recipe) -> DataModule:
    """The data, not set up yet: of a source, or of another module that takes the same options.

    Raises:
        TTLError: if a key is out of range, or the data's place is not to be had.
    """
    backbone, options, seed = recipe.backbone, recipe.data.options, recipe.seed
    mean, std = pixel_statistics(backbone.name, recipe.data.in_channels, backbone.weights)
    with naming("protocol.augment"):
        augment = instantiate(recipe.augment, _convert_="all")
    if options.get("num_workers") == "auto":
        options = {**options, "num_workers": workers()}
    parts = made_of(options, seed)
    if parts is None:
        with naming("data"):
            make = instantiate(options, _partial_=True, _convert_="all")
            if not (isinstance(make.func, type) and issubclass(make.func, Source)):
                other: DataModule = make(seed=seed, augment=augment, mean=mean, std=std)
                return other
            parts = made(make.func, make.keywords, seed)
    return DataModule(*parts, augment=augment, mean=mean, std=std)


def read_data(recipe: Recipe) -> DataModule:
    """The data, set up.

    Raises:
        TTLError: if they cannot be used.
    """
    with config.made():
        data = create_data(recipe)
    data.prepare_data()
    data.setup("fit")
    return data


def _precision(spec: RunSpec, batch_size: int, model: TransferModel, earlier: Options) -> Choice:
    """What the configuration says; `auto` measures, but a run that goes on keeps its own."""
    wanted, kept = spec.trainer.precision, earlier.get("precision")
    if wanted != "auto":
        choice = Choice(str(wanted), channels_last=bool(spec.channels_last))
    elif kept is not None:
        choice = Choice(str(kept), channels_last=bool(earlier.get("channels_last")))
    else:
        shape = (batch_size, *model.backbone.input_shape(spec.data.spatial))
        choice = choose(model, shape, device(spec), channels_last=spec.trainer.channels_last)
    log.info("precision: %s%s", choice.precision, ", channels last" if choice.channels_last else "")
    return choice


def _loaders(data: DataModule) -> dict[str, int]:
    """What each of the loaders has, where they are the package's own and have any."""
    loading: Loading | None = getattr(data, "loading", None)  # a module of others has none
    count = loading.num_workers if loading else 0
    return {"num_workers": int(count)} if count not in (0, "auto") else {}


def _frozen(spec: RunSpec, model: TransferModel) -> FrozenFeatures | None:
    """What keeps the features of frozen units, if the configuration and the model allow it."""
    if not spec.trainer.keep_frozen or not FrozenFeatures.fits(model):
        return None
    return FrozenFeatures(model, int(KEPT_SHARE * free_memory(device(spec))))


def _check_devices(spec: RunSpec, here: int, began: int | None) -> None:
    """Demand for a run that goes on the devices it began with, also where `auto` stands for them.

    Raises:
        ConfigError: if they are more or fewer, and so the batch of all of them is another.
    """
    if spec.resume == "auto" and began not in (None, here):
        raise ConfigError(
            f"trainer.devices={spec.trainer.devices} means {here} here, and the run began with "
            f"{began}: give it on as many, or resume=never to start anew."
        )


def _batch_size(
    finder: str, data: DataModule, task: Task, trainer: pl.Trainer, earlier: Options
) -> int:
    """The batch size that memory allows; a run that goes on keeps its own."""
    if "batch_size" in earlier:
        return int(earlier["batch_size"])
    if trainer.world_size > 1:
        raise ConfigError(
            "trainer.batch_size_finder looks at one device: find the size with "
            f"trainer.devices=1, then give it as data.batch_size; got {trainer.world_size} "
            "processes."
        )
    where = trainer.strategy.root_device.type
    found = fitted_batch_size(task, data, finder, trainer.precision, where)
    log.info("batch size: %d (%s)", found, finder)
    return found


def device(spec: RunSpec) -> torch.device:
    """Where a run computes."""
    gpu = spec.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")
