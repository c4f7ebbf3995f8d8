"""`train(cfg)`: the one place that assembles a run from its parts."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.errors import ConfigError, WeightsError
from ttl_lightning.models.backbones.checkpoints import sha256
from ttl_lightning.models.cost import complexity
from ttl_lightning.models.create import create_model
from ttl_lightning.models.heads.linear import zero_head
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import outputs as run_folder
from ttl_lightning.runs import stored
from ttl_lightning.runs.build import Parts, assemble, check
from ttl_lightning.runs.callbacks.checkpoints import is_finished, resumable
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.fingerprint import identity
from ttl_lightning.runs.holding import is_main_process
from ttl_lightning.runs.latency import Timer, Times, timer
from ttl_lightning.runs.record import already_completed, described, recorded
from ttl_lightning.runtime.allocator import freed_memory_kept
from ttl_lightning.runtime.memory import peak_memory_mb, reset_peak_memory

log = logging.getLogger(__name__)


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
    check(cfg)
    spec = config.typed(cfg)
    result = described(spec, overrides, identity(spec.values))
    if done := already_completed(spec, folder, result):
        return done
    with recorded(result, folder), quiet():
        parts = assemble(cfg, folder, result)
        _fit(cfg, folder, parts, result)
        if parts.last.finished:
            _finish(cfg, folder, parts, result)
        else:
            result.status = "paused"
    if is_main_process() and result.status == "completed":
        run_folder.show(folder, result)
    return result


def _finish(cfg: DictConfig, folder: Path, parts: Parts, result: RunResult) -> None:
    """Score, measure and write what a completed run leaves."""
    with _timer(cfg) as times:  # it starts while the images are scored
        _evaluate(parts, result)
        if is_main_process():
            _measure(cfg, parts, result, times)
    if is_main_process():
        ids = {split: parts.data.sample_ids(split) for split in parts.task.predictions}
        run_folder.write(folder, parts.task, ids, parts.history.rows, result)
    result.status = "completed"


def _fit(cfg: DictConfig, folder: Path, parts: Parts, result: RunResult) -> None:
    result.status = "running"
    going_on = cfg.resume == "auto" and parts.last.path.is_file()
    if is_main_process():
        if cfg.resume == "never":
            shutil.rmtree(parts.last.path.parent, ignore_errors=True)
        result.save(folder)
        stored.write(cfg, folder)
    state = resumable(parts.last.path, parts.task) if going_on else {}
    if is_finished(state):
        parts.history.load_state_dict(state["callbacks"]["History"])
        parts.last.finished = True
    else:
        if going_on:
            log.info("going on from %s, epoch %d", parts.last.path, state["epoch"] + 1)
        else:
            result.train["head_init"] = _start_head(cfg, parts)
        ckpt = str(parts.last.path) if going_on else None
        reset_peak_memory(parts.trainer.strategy.root_device)
        with freed_memory_kept():
            parts.trainer.fit(parts.task, datamodule=parts.data, ckpt_path=ckpt, weights_only=True)
    rows, mode = parts.history.rows, max if cfg.protocol.monitor_mode == "max" else min
    scored = [row for row in rows if math.isfinite(row.get(cfg.protocol.monitor, math.nan))]
    best = mode(scored, key=lambda row: row[cfg.protocol.monitor]) if scored else None
    if best:  # those of a run that is paused; the others are scored anew
        result.metrics = {key: value for key, value in best.items() if key.startswith("val/")}
    result.train |= {
        "epochs": len(rows),
        "best_epoch": int(best["epoch"]) if best else None,
        "images_per_s": parts.history.images_per_s(),
        "peak_memory_mb": peak_memory_mb(parts.trainer.strategy.root_device),
    }


def _start_head(cfg: DictConfig, parts: Parts) -> dict[str, Any]:
    """Begin the head as the protocol says; what that was, and the seconds that it took."""
    kind, model = cfg.protocol.head_init, cast(TransferModel, parts.task.model)
    started = time.perf_counter()
    told: dict[str, Any] = {"kind": kind}
    if kind == "zero":
        zero_head(model.head)
    elif kind == "probe":
        device = parts.trainer.strategy.root_device
        model.to(device)
        splits = {split: parts.data.plain_dataloader(split) for split in ("train", "val")}
        told |= parts.task.probed_head(splits)
    return {**told, "seconds": time.perf_counter() - started}


def _evaluate(parts: Parts, result: RunResult) -> None:
    """Score the best epoch's model on the validation and the test split."""
    result.train["scored"] = scored = _weights_to_score(parts)
    common: dict[str, Any] = {
        "datamodule": parts.data,
        "ckpt_path": str(parts.best) if scored["sha256"] else None,
        "weights_only": True,
        "verbose": False,
    }
    parts.trainer.validate(parts.task, **common)
    parts.trainer.test(parts.task, **common)
    for split, scores in parts.task.scores.items():
        result.metrics |= {f"{split}/{key}": value for key, value in scores.values.items()}
        result.notes |= {f"{split}/{key}": note for key, note in scores.notes.items()}
    report = parts.task.report
    intervals = report.intervals(parts.task.predictions["test"], result.model)
    result.intervals = {f"test/{key}": interval for key, interval in intervals.items()}
    reasons = {metric.name: metric.no_interval for metric in report.metrics if metric.no_interval}
    result.notes |= {f"intervals/test/{key}": reason for key, reason in reasons.items()}


def _weights_to_score(parts: Parts) -> dict[str, str | None]:
    """Which weights are scored, by the hash of their file.

    Raises:
        WeightsError: if the best epoch's are gone; what is in memory may be trained by nobody.
    """
    if parts.trainer.fast_dev_run:  # type: ignore[attr-defined]  # which writes no checkpoints
        return {"file": None, "sha256": None}
    if not parts.best.is_file():
        raise WeightsError(
            f"{parts.best} is gone, so the best epoch cannot be scored: put it back, or give "
            "resume=never to train anew."
        )
    return {"file": f"checkpoints/{parts.best.name}", "sha256": sha256(parts.best)}


@contextmanager
def _timer(cfg: DictConfig) -> Iterator[Timer | None]:
    if not cfg.latency or not is_main_process():
        yield None
        return
    with timer() as times:
        yield times


def _measure(cfg: DictConfig, parts: Parts, result: RunResult, times: Timer | None) -> None:
    """Cost of the model beside that of the untruncated network, on the CPU and where it trained."""
    model = cast(TransferModel, parts.task.model)
    model.to("cpu").to(memory_format=torch.contiguous_format)
    channels, *spatial = size = model.backbone.input_shape(config.spatial(cfg))
    common = {
        "name": cfg.backbone.name,
        "weights": None,
        "num_classes": parts.task.num_outputs(parts.data),
        "in_channels": channels,
        "image_size": spatial,
    }
    own = {"strategy": cfg.strategy.name, "cutoff": cfg.cutoff, "pooling": cfg.strategy.pooling}
    timed = [common | own]
    result.complexity = {**complexity(model, size).to_dict(), "untruncated": None}
    if model.strategy.keeps_rest:
        result.notes["complexity/untruncated"] = "this strategy keeps the network whole"
    else:
        try:
            whole = create_model(**common, strategy="ftl")
        except ConfigError as error:  # images that are large enough for the cut network alone
            result.notes["complexity/untruncated"] = str(error)
        else:
            timed.append(common | {"strategy": "ftl"})
            result.complexity["untruncated"] = complexity(whole, size).to_dict()
    devices = list(dict.fromkeys(("cpu", parts.trainer.strategy.root_device.type)))
    found = (
        times(timed, size, devices)
        if times
        else dict.fromkeys(devices, "it was not asked for (latency=false)")
    )
    _add_latency(result, found, whole=model.strategy.keeps_rest)


def _add_latency(result: RunResult, found: Times, *, whole: bool) -> None:
    """Put the times of the model and of the untruncated network, if there is one, beside costs."""
    ours, theirs = result.complexity, result.complexity["untruncated"]
    ours["latency_ms"] = dict.fromkeys(found)
    if theirs:
        theirs["latency_ms"] = dict.fromkeys(found)
    for device, times in found.items():
        if isinstance(times, str):
            result.notes[f"complexity/latency_ms/{device}"] = times
            continue
        ratio = 1.0 if whole else None
        if theirs:
            theirs["latency_ms"][device] = times[1]
            ratio = times[0]["min"] / times[1]["min"]
        ours["latency_ms"][device] = {**times[0], "ratio": ratio}
