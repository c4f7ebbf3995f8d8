"""`train(cfg)`: the one place that assembles a run from its parts."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from ttl_lightning import config
from ttl_lightning.analysis.complexity import complexity, measure_latency
from ttl_lightning.analysis.precision import Choice, choose, to_channels_last
from ttl_lightning.backbones.factory import pixel_statistics
from ttl_lightning.backbones.weights import find, load_plain
from ttl_lightning.callbacks.checkpoints import (
    AtomicCheckpointIO,
    LastCheckpoint,
    best_checkpoint,
    is_finished,
)
from ttl_lightning.callbacks.history import History
from ttl_lightning.callbacks.memory import peak_memory_mb, reset_peak_memory
from ttl_lightning.callbacks.progress import progress, quiet, watched
from ttl_lightning.data.base import ImageDataModule
from ttl_lightning.errors import ConfigError
from ttl_lightning.record import already_completed, described, is_main_process, recorded
from ttl_lightning.report import run_folder
from ttl_lightning.results import RunResult
from ttl_lightning.strategies.base import TransferModel
from ttl_lightning.strategies.factory import create_model
from ttl_lightning.tasks.bootstrap import bootstrap_intervals
from ttl_lightning.tasks.classification import ClassificationTask
from ttl_lightning.tasks.weights import class_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    data: ImageDataModule
    task: ClassificationTask
    trainer: pl.Trainer
    history: History
    best: Path
    last: Path


def train(
    cfg: DictConfig | None = None,
    *,
    overrides: Sequence[str] = (),
    run_dir: Path | str | None = None,
) -> RunResult:
    """Run one job: finetune, choose the best epoch on validation, report on test.

    Args:
        cfg: the composed configuration; None composes it from the overrides, as the command line
            does.
        overrides: `strategy=ttl`, `cutoff=block3`, …; beside a `cfg` only recorded.
        run_dir: the run's folder; by default the one that the configuration names.

    Returns:
        What the run's `result.json` holds.

    Raises:
        TTLError: if the configuration, the data or the weights cannot be used; no folder is left
            behind.
        NonFiniteLossError: if the loss became infinite or NaN; the folder keeps the best finite
            checkpoint.
    """
    if cfg is None:
        cfg, composed = config.read(overrides)
        run_dir = run_dir or composed
    if run_dir is None:
        raise ConfigError("train(cfg) needs run_dir=FOLDER, where its results are to lie.")
    folder = Path(run_dir)
    result = described(cfg, overrides)
    if done := already_completed(cfg, folder, result):
        return done
    with recorded(result, folder), quiet():
        _check(cfg)
        parts = _assemble(cfg, folder, result)
        _fit(cfg, folder, parts, result)
        _evaluate(parts, result)
        if is_main_process():
            _measure(cfg, parts, result)
            ids = {split: parts.data.sample_ids(split) for split in parts.task.predictions}
            run_folder.write(folder, parts.task, ids, parts.history.rows, result)
        result.status = "completed"
    if is_main_process():
        run_folder.show(folder, result)
    return result


def _check(cfg: DictConfig) -> None:
    """Find what is wrong with the network's settings before any data are read."""
    with torch.device("meta"):
        _model(cfg, num_classes=2, weights=None)
    if cfg.backbone.weights is not None:
        find(str(cfg.backbone.weights), cfg.backbone.name)


def _model(cfg: DictConfig, num_classes: int, weights: str | None) -> TransferModel:
    return create_model(
        cfg.backbone.name,
        cfg.strategy.name,
        cfg.cutoff,
        num_classes,
        weights,
        pooling=cfg.strategy.pooling,
        in_channels=cfg.data.in_channels,
        image_size=cfg.data.image_size,
    )


def _assemble(cfg: DictConfig, folder: Path, result: RunResult) -> Parts:
    data = _data(cfg, result)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    model = _model(cfg, data.num_classes, cfg.backbone.weights)
    _describe(model, data, cfg, result)
    weights = class_weights(data.labels("train"), _plain(cfg.task.class_weights), data.num_classes)
    task: ClassificationTask = instantiate(cfg.task, _convert_="all")(
        model,
        task=data.task,
        class_names=data.class_names,
        class_weights=weights,
        optimizer=instantiate(cfg.protocol.optimizer, _convert_="all"),
        learning_rate=cfg.protocol.learning_rate,
        scheduler=instantiate(cfg.protocol.scheduler, _convert_="all"),
        scheduler_interval=cfg.protocol.scheduler_interval,
        monitor=cfg.protocol.monitor,
        lr_floor=cfg.protocol.lr_floor,
    )
    choice = _precision(cfg, model, result)
    if choice.channels_last:
        to_channels_last(model)
    checkpoints = folder / "checkpoints"
    best = best_checkpoint(checkpoints, cfg.protocol.monitor, cfg.protocol.monitor_mode)
    last = LastCheckpoint(checkpoints)
    history = History(folder / "metrics.csv")
    own = ("precision", "channels_last")
    settings = {key: value for key, value in cfg.trainer.items() if key not in own}
    try:
        trainer: pl.Trainer = instantiate(settings, _partial_=True, _convert_="all")(
            precision=choice.precision,
            default_root_dir=str(folder),
            callbacks=[best, history, last, progress(cfg.protocol.monitor)],
            plugins=[AtomicCheckpointIO()],
            logger=_logger(cfg, folder),
            enable_model_summary=False,
            enable_progress_bar=watched(),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    return Parts(data, task, trainer, history, checkpoints / "best.ckpt", last.path)


def _data(cfg: DictConfig, result: RunResult) -> ImageDataModule:
    mean, std = pixel_statistics(cfg.backbone.name, cfg.data.in_channels)
    augment = instantiate(cfg.protocol.augment, _convert_="all")
    make = instantiate(cfg.data, _partial_=True, _convert_="all")
    data: ImageDataModule = make(seed=cfg.seed, augment=augment, mean=mean, std=std)
    data.prepare_data()
    data.setup("fit")
    result.bad_images = data.bad_images
    for note in data.notes:
        log.info("note: %s", note)
    if data.notes:
        result.notes["data"] = " ".join(data.notes)
    return data


def _describe(
    model: TransferModel, data: ImageDataModule, cfg: DictConfig, result: RunResult
) -> None:
    """Put into the result what is needed to build the model again."""
    if model.strategy.needs_cutoff:
        result.cutoff = model.cutoff
        result.cutoff_index = model.backbone.index(model.cutoff)
    report = model.backbone.weights_report
    result.weights = report.to_dict() if report else None
    if report is None:
        log.info("weights: random")
    result.model = {
        "task": data.task,
        "class_names": list(data.class_names),
        "pooling": cfg.strategy.pooling,
        "in_channels": cfg.data.in_channels,
        "image_size": cfg.data.image_size,
        "mean": list(model.backbone.mean),
        "std": list(model.backbone.std),
    }


def _precision(cfg: DictConfig, model: TransferModel, result: RunResult) -> Choice:
    """What the configuration says; `auto` measures, but a resumed run keeps what it began with."""
    wanted, channels_last = cfg.trainer.precision, cfg.trainer.channels_last
    kept = result.train.get("precision"), result.train.get("channels_last")
    if wanted != "auto":
        choice = Choice(wanted, channels_last=bool(channels_last))
    elif kept[0] is not None:
        choice = Choice(str(kept[0]), channels_last=bool(kept[1]))
    else:
        gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        size = cfg.data.image_size
        shape = (cfg.data.batch_size, cfg.data.in_channels, size, size)
        device = torch.device("cuda" if gpu else "cpu")
        choice = choose(model, shape, device, channels_last=channels_last)
    result.train |= {"precision": choice.precision, "channels_last": choice.channels_last}
    if choice.timings_ms:
        result.train["precision_timings_ms"] = choice.timings_ms
    log.info("precision: %s%s", choice.precision, ", channels last" if choice.channels_last else "")
    return choice


def _logger(cfg: DictConfig, folder: Path) -> Logger | bool:
    if cfg.logger._target_ is None:
        return False
    settings = dict(cfg.logger)
    if "save_dir" in settings and settings["save_dir"] is None:
        settings["save_dir"] = str(folder)
    try:
        made: Logger = instantiate(settings, _convert_="all")
    except (ModuleNotFoundError, InstantiationException) as error:
        raise ConfigError(f"logger {cfg.logger._target_} cannot be made: {error}") from error
    return made


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a key may hold
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _fit(cfg: DictConfig, folder: Path, parts: Parts, result: RunResult) -> None:
    result.status = "running"
    going_on = cfg.resume == "auto" and parts.last.is_file()
    if is_main_process():
        if cfg.resume == "never":
            shutil.rmtree(parts.last.parent, ignore_errors=True)
        result.save(folder)
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    state = cast(dict[str, Any], load_plain(parts.last)) if going_on else {}
    if is_finished(state):
        parts.history.load_state_dict(state["callbacks"]["History"])
    else:
        if going_on:
            log.info("going on from %s, epoch %d", parts.last, state["epoch"] + 1)
        ckpt = str(parts.last) if going_on else None
        reset_peak_memory(parts.trainer.strategy.root_device)
        parts.trainer.fit(parts.task, datamodule=parts.data, ckpt_path=ckpt, weights_only=True)
    rows, mode = parts.history.rows, max if cfg.protocol.monitor_mode == "max" else min
    scored = [row for row in rows if math.isfinite(row.get(cfg.protocol.monitor, math.nan))]
    best = mode(scored, key=lambda row: row[cfg.protocol.monitor]) if scored else None
    result.train |= {
        "epochs": len(rows),
        "best_epoch": int(best["epoch"]) if best else None,
        "images_per_s": parts.history.images_per_s(),
        "peak_memory_mb": peak_memory_mb(parts.trainer.strategy.root_device),
    }


def _evaluate(parts: Parts, result: RunResult) -> None:
    """Score the best epoch's model on the validation and the test split."""
    ckpt = str(parts.best) if parts.best.is_file() else None
    common: dict[str, Any] = {
        "datamodule": parts.data,
        "ckpt_path": ckpt,
        "weights_only": True,
        "verbose": False,
    }
    parts.trainer.validate(parts.task, **common)
    parts.trainer.test(parts.task, **common)
    for split, scores in parts.task.scores.items():
        result.metrics |= {f"{split}/{key}": value for key, value in scores.values.items()}
        result.notes |= {f"{split}/{key}": note for key, note in scores.notes.items()}
    table = parts.task.predictions["test"]
    intervals = bootstrap_intervals(table.probabilities, table.labels, parts.task.task)
    result.intervals = {f"test/{key}": interval for key, interval in intervals.items()}


def _measure(cfg: DictConfig, parts: Parts, result: RunResult) -> None:
    """Cost of the model beside that of the untruncated network, on the CPU and where it trained."""
    model = cast(TransferModel, parts.task.model)
    size = (cfg.data.in_channels, cfg.data.image_size, cfg.data.image_size)
    devices = dict.fromkeys(("cpu", parts.trainer.strategy.root_device.type))
    result.complexity = {**_cost(model, size, devices), "untruncated": None}
    if model.strategy.keeps_rest:
        result.notes["complexity/untruncated"] = "this strategy keeps the network whole"
        return
    classes = parts.data.num_classes
    try:
        whole = create_model(
            cfg.backbone.name, "ftl", None, classes, in_channels=size[0], image_size=size[1:]
        )
    except ConfigError as error:  # images that are large enough for the cut network alone
        result.notes["complexity/untruncated"] = str(error)
        return
    result.complexity["untruncated"] = _cost(whole, size, devices)


def _cost(model: TransferModel, size: Sequence[int], devices: Iterable[str]) -> dict[str, Any]:
    model.to("cpu").to(memory_format=torch.contiguous_format)
    cost = complexity(model, size, latency=False).to_dict()
    times = {device: asdict(measure_latency(model.to(device), size)) for device in devices}
    return {**cost, "latency_ms": times}
