"""What a run is made of, built from its configuration and checked before any data are read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from ttl_lightning.config import compose as config
from ttl_lightning.config.border import check_values
from ttl_lightning.config.ranks import made_of
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.registry import AUGMENT, SOURCES, made
from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.factory import pixel_statistics
from ttl_lightning.models.backbones.pretrained import find, record_of
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records import history
from ttl_lightning.records.schema import RunResult
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
    try_parts,
)
from ttl_lightning.runtime.batch_size import fitted_batch_size
from ttl_lightning.runtime.bfloat16 import wrong_in_bfloat16
from ttl_lightning.runtime.precision import Choice, choose, to_channels_last
from ttl_lightning.tasks.base import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    data: DataModule
    task: Task
    trainer: pl.Trainer
    history: History
    best: Path
    last: LastCheckpoint


def check(cfg: DictConfig) -> None:
    """Find what is wrong with a configuration before any data are read.

    Raises:
        TTLError: if a number is out of range, or the network, its weights or the data's place
            are not to be had.
    """
    check_values(config.values_of(cfg))
    protocol = cfg.protocol
    task_class(cfg).check_protocol(protocol)
    # What others wrote may do anything; it runs in the job's own process, not in the sweep's.
    own = cfg.data._target_ in SOURCES and protocol.augment._target_ == AUGMENT
    data = create_data(cfg) if own else None
    with torch.device("meta"):
        model = _model(cfg, num_classes=2, weights=None)
    _check_precision(cfg, model)
    if cfg.backbone.weights is not None:
        find(cfg.backbone.name, str(cfg.backbone.weights))
    groups = model.param_groups(protocol.learning_rate, protocol.pretrained_lr_factor)
    try_parts(cfg, groups)
    if data is not None:
        _check_batch(model, data.batch_size)


def _check_batch(model: TransferModel, batch_size: int) -> None:
    """Demand batches that BatchNorm can train on.

    Raises:
        ConfigError: naming the key.
    """
    norms = (m for m in model.train().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    if batch_size == 1 and any(norm.training for norm in norms):
        raise ConfigError(
            "data.batch_size=1 does not do for a network that trains BatchNorm, whose statistics "
            "are those of a batch: give 2 or more, or strategy=ffe."
        )


def _check_precision(cfg: DictConfig, model: TransferModel) -> None:
    """Demand gradients that are right; with `auto`, the choice sees to it.

    Raises:
        ConfigError: naming the convolution.
    """
    precision = str(cfg.trainer.precision)
    if not precision.startswith("bf16") or device(cfg).type != "cpu":
        return
    if at := wrong_in_bfloat16(model, model.backbone.input_shape(config.spatial(cfg))):
        raise ConfigError(
            f"trainer.precision={precision} gives wrong gradients for {at} on a CPU: use 32-true "
            "or auto."
        )


def _model(cfg: DictConfig, num_classes: int, weights: str | None) -> TransferModel:
    return create_model(
        cfg.backbone.name,
        cfg.strategy.name,
        cfg.cutoff,
        num_classes,
        weights,
        pooling=cfg.strategy.pooling,
        in_channels=cfg.data.in_channels,
        image_size=config.spatial(cfg),
    )


def initial_model(cfg: DictConfig, num_classes: int) -> TransferModel:
    """The model that a run begins with: the same each time, as it seeds the random generators.

    Raises:
        TTLError: if the network or its weights cannot be had.
    """
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    return _model(cfg, num_classes, cfg.backbone.weights)


def assemble(cfg: DictConfig, folder: Path, result: RunResult) -> Parts:
    """Read the data and build model, task and trainer; the result learns what they are.

    Raises:
        TTLError: if data, weights or settings cannot be used.
    """
    kind, options = task_class(cfg), task_options(cfg)
    data = _ready(create_data(cfg), result)
    model = initial_model(cfg, kind.num_outputs(data))
    task = kind(
        model,
        optimizer=optimizer_of(cfg),
        learning_rate=cfg.protocol.learning_rate,
        pretrained_lr_factor=cfg.protocol.pretrained_lr_factor,
        scheduler=scheduler_of(cfg),
        scheduler_interval=cfg.protocol.scheduler_interval,
        monitor=cfg.protocol.monitor,
        lr_floor=cfg.protocol.lr_floor,
        **kind.settings(data, cfg.protocol, options),
    )
    _describe(model, task, data, cfg, result)
    choice = _precision(cfg, model, result)
    if choice.channels_last:
        to_channels_last(model)
    checkpoints = folder / "checkpoints"
    others, protocol = callbacks_of(cfg), cfg.protocol
    best = best_checkpoint(checkpoints, protocol.monitor, protocol.monitor_mode, others)
    last = LastCheckpoint(checkpoints, until_epoch=cfg.until_epoch)
    same = [SameConfig(str(result.config_sha256)), SameBuffers()]
    rows = History(folder / history.FILE_NAME)
    trainer = trainer_of(
        cfg,
        precision=choice.precision,
        default_root_dir=str(folder),
        callbacks=[*same, best, rows, last, progress(cfg.protocol.monitor), *others],
        plugins=[AtomicCheckpointIO()],
        logger=logger_of(cfg, folder),
        enable_model_summary=False,
        enable_progress_bar=watched(),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    _same_devices(cfg, trainer, result)
    _fit_batch(cfg, data, task, trainer, result)
    return Parts(data, task, trainer, rows, checkpoints / "best.ckpt", last)


def create_data(cfg: DictConfig) -> DataModule:
    """The data, not set up yet: of a source, or of another module that takes the same options.

    Raises:
        TTLError: if a key is out of range, or the data's place is not to be had.
    """
    mean, std = pixel_statistics(cfg.backbone.name, cfg.data.in_channels, cfg.backbone.weights)
    with naming("protocol.augment"):
        augment = instantiate(cfg.protocol.augment, _convert_="all")
    parts = made_of(cfg)
    if parts is None:
        with naming("data"):
            make = instantiate(config.plain(cfg.data), _partial_=True, _convert_="all")
            if not (isinstance(make.func, type) and issubclass(make.func, Source)):
                other: DataModule = make(seed=cfg.seed, augment=augment, mean=mean, std=std)
                return other
            parts = made(make.func, make.keywords, cfg.seed)
    return DataModule(*parts, augment=augment, mean=mean, std=std)


def _ready(data: DataModule, result: RunResult) -> DataModule:
    """Read the data, once it is sure that all else is in order."""
    data.prepare_data()
    data.setup("fit")
    result.bad_images = data.bad_images
    for note in data.notes:
        log.info("note: %s", note)
    if data.notes:
        result.notes["data"] = " ".join(data.notes)
    return data


def _describe(
    model: TransferModel,
    task: Task,
    data: DataModule,
    cfg: DictConfig,
    result: RunResult,
) -> None:
    """Put into the result what is needed to build the model again."""
    if model.strategy.needs_cutoff:
        result.cutoff = model.cutoff
        result.cutoff_index = model.backbone.index(model.cutoff)
    report = model.backbone.weights_report
    result.weights = report.to_dict() if report else None
    if report is None:
        log.info("weights: none, every unit is trained from scratch")
    elif note := record_of(cfg.backbone.name, str(cfg.backbone.weights)).note:
        log.warning("note: %s", note)
        result.notes["weights"] = note
    result.model = {
        **task.described(),
        "pooling": cfg.strategy.pooling,
        "in_channels": cfg.data.in_channels,
        "image_size": config.spatial(cfg),
        "mean": list(model.backbone.mean),
        "std": list(model.backbone.std),
        "outputs": task.num_outputs(data),
        "report": task.report.declared(),
    }


def _precision(cfg: DictConfig, model: TransferModel, result: RunResult) -> Choice:
    """What the configuration says; `auto` measures, but a resumed run keeps what it began with."""
    wanted, channels_last = cfg.trainer.precision, cfg.trainer.channels_last
    kept = result.train.get("precision"), result.train.get("channels_last")
    if wanted != "auto":
        choice = Choice(wanted, channels_last=bool(config.channels_last(cfg)))
    elif kept[0] is not None:
        choice = Choice(str(kept[0]), channels_last=bool(kept[1]))
    else:
        shape = (cfg.data.batch_size, *model.backbone.input_shape(config.spatial(cfg)))
        choice = choose(model, shape, device(cfg), channels_last=channels_last)
    result.train |= {"precision": choice.precision, "channels_last": choice.channels_last}
    if choice.timings_ms:
        result.train["precision_timings_ms"] = choice.timings_ms
    log.info("precision: %s%s", choice.precision, ", channels last" if choice.channels_last else "")
    return choice


def _same_devices(cfg: DictConfig, trainer: pl.Trainer, result: RunResult) -> None:
    """Demand for a run that goes on the devices it began with, also where `auto` stands for them.

    Raises:
        ConfigError: if they are more or fewer, and so the batch of all of them is another.
    """
    began, here = result.train.get("devices"), trainer.world_size
    if cfg.resume == "auto" and began not in (None, here):
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} means {here} here, and the run began with "
            f"{began}: give it on as many, or resume=never to start anew."
        )
    result.train["devices"] = here


def _fit_batch(
    cfg: DictConfig,
    data: DataModule,
    task: Task,
    trainer: pl.Trainer,
    result: RunResult,
) -> None:
    """Set the batch size that memory allows, if asked; a resumed run keeps what it began with."""
    finder = cfg.trainer.batch_size_finder
    if finder is not None and "batch_size" in result.train:
        data.batch_size = int(result.train["batch_size"])
    elif finder is not None:
        if trainer.world_size > 1:
            raise ConfigError(
                "trainer.batch_size_finder looks at one device: find the size with "
                f"trainer.devices=1, then give it as data.batch_size; got {trainer.world_size} "
                "processes."
            )
        device = trainer.strategy.root_device.type
        data.batch_size = fitted_batch_size(task, data, finder, trainer.precision, device)
        log.info("batch size: %d (%s)", data.batch_size, finder)
    result.train["batch_size"] = data.batch_size


def device(cfg: DictConfig) -> torch.device:
    """Where a run computes."""
    gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")
