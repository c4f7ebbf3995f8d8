"""`train(cfg)`: a run from its configuration to its result, stage by stage."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ttl_lightning.config import compose as config
from ttl_lightning.config.schema import Options, RunSpec
from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.pretrained import record_of
from ttl_lightning.models.frozen import FrozenFeatures
from ttl_lightning.models.heads.linear import zero_head
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import outputs, stored
from ttl_lightning.runs.build import Parts, assemble, read_data
from ttl_lightning.runs.callbacks.checkpoints import is_finished, resumable
from ttl_lightning.runs.callbacks.progress import quiet
from ttl_lightning.runs.check import check
from ttl_lightning.runs.cost import measure
from ttl_lightning.runs.evaluate import evaluate
from ttl_lightning.runs.fingerprint import identity
from ttl_lightning.runs.holding import is_main_process
from ttl_lightning.runs.latency import timer
from ttl_lightning.runs.record import described, earlier_in, recorded
from ttl_lightning.runtime import threads
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
    spec, folder = config.typed(cfg), Path(run_dir)
    check(spec)
    begun = described(spec, overrides, identity(spec.values))
    earlier = earlier_in(folder, spec, begun)
    if earlier and earlier.status == "completed":
        log.info("%s is completed already; resume=never runs it again.", folder)
        return earlier
    begun = replace(begun, train=earlier.train if earlier else {})
    processes = config.wanted_devices(spec.trainer.accelerator, spec.trainer.devices) or 1
    kept = begun.train.get("threads")
    chosen = threads.choose(spec.trainer.threads, kept, processes=processes)
    log.info("threads: %d (%s)", chosen.count, chosen.reason)
    begun = replace(begun, train={**begun.train, "threads": chosen.count})
    with quiet(), threads.used(chosen.count):
        result = recorded(begun, _stages(spec, RunFolder(folder), begun), folder)
    if is_main_process() and result.status == "completed":
        outputs.show(folder, result)
    return result


def _stages(spec: RunSpec, there: RunFolder, begun: RunResult) -> Iterator[RunResult]:
    """Run; after each stage, the result so far."""
    data = read_data(spec.recipe)  # now that it is sure that all else is in order
    for note in data.notes:
        log.info("note: %s", note)
    notes = {"data": " ".join(data.notes)} if data.notes else {}
    result = replace(begun, bad_images=data.bad_images, notes=notes)
    yield result

    parts = assemble(spec, there, data, str(begun.config_sha256), begun.train)
    model, weights = parts.model, parts.model.backbone.weights_report
    cut = model.strategy.needs_cutoff
    result = replace(
        result,
        cutoff=model.cutoff if cut else None,
        cutoff_index=model.backbone.index(model.cutoff) if cut else None,
        weights=weights.to_dict() if weights else None,
        model=_model(spec, parts),
        notes=notes | _weights_note(spec, model),
        train=begun.train | parts.settings,
    )
    yield result

    going_on = spec.resume == "auto" and there.last.is_file()
    if spec.resume == "never" and is_main_process():
        shutil.rmtree(there.checkpoints, ignore_errors=True)
    result = replace(result, status="running")
    yield result
    if is_main_process():
        stored.write(spec.values, there.path)
    state = resumable(there.last, parts.task) if going_on else {}
    if not going_on:
        head = {"head_init": _start_head(spec.protocol.head_init, parts)}
        result = replace(result, train=result.train | head)
        yield result
    fitted = _fit(spec, parts, there.last, state)
    result = replace(result, metrics=fitted.metrics, train=result.train | fitted.train)
    yield result
    if not parts.last.finished:
        yield replace(result, status="paused")
        return

    timed = timer() if spec.latency and is_main_process() else nullcontext()
    with timed as times:  # its process starts while the images are scored
        scored = evaluate(parts, there, result.model)
        result = replace(
            result,
            metrics=result.metrics | scored.metrics,
            intervals=scored.intervals,
            notes=result.notes | scored.notes,
            train=result.train | {"scored": scored.weights},
            **scored.concluded,
        )
        yield result
        if is_main_process():
            cost = measure(spec, parts, times)
            result = replace(result, complexity=cost.complexity, notes=result.notes | cost.notes)
    if is_main_process():
        rows, kinds = parts.history.rows, spec.figures
        outputs.write(there.path, parts.task, data, rows, result, kinds)
    yield replace(result, status="completed")


def _model(spec: RunSpec, parts: Parts) -> dict[str, Any]:
    """What is needed, beside the network's name, to build the model again and to feed it."""
    task, backbone = parts.task, parts.model.backbone
    return {
        **task.described(),
        "head": spec.task.head,
        "pooling": spec.strategy.pooling,
        "in_channels": spec.data.in_channels,
        "image_size": spec.data.spatial,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "outputs": task.num_outputs(parts.data),
        "report": task.report.declared(),
    }


def _weights_note(spec: RunSpec, model: TransferModel) -> dict[str, str]:
    """What a reader has to know of the weights that the run began with."""
    if model.backbone.weights_report is None:
        log.info("weights: none, every unit is trained from scratch")
        return {}
    note = record_of(spec.backbone.name, spec.backbone.weights).note
    if note:
        log.warning("note: %s", note)
    return {"weights": note} if note else {}


def _start_head(kind: str, parts: Parts) -> dict[str, Any]:
    """Begin the head as the protocol says; what that was, and the seconds that it took."""
    started = time.perf_counter()
    told: dict[str, Any] = {"kind": kind}
    if kind == "zero":
        zero_head(parts.model.head)
    elif kind == "probe":
        parts.model.to(parts.device)
        splits = {split: parts.data.plain_dataloader(split) for split in ("train", "val")}
        told |= parts.task.probed_head(splits)
    return {**told, "seconds": time.perf_counter() - started}


def _kept(frozen: FrozenFeatures | None) -> dict[str, Any]:
    """What was kept of frozen units."""
    if frozen is None or not frozen.counts:
        return {}
    return {"kept_frozen": {"inputs": frozen.counts, "mb": frozen.bytes / 1e6}}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training gave, by names as in a result: the best epoch's validation metrics."""

    metrics: dict[str, float | None]
    train: dict[str, Any]


def _fit(spec: RunSpec, parts: Parts, last: Path, state: Options) -> Fitted:
    """Train to the end or to the pause, from a checkpoint's state unless that is empty."""
    history, where = parts.history, parts.device
    if is_finished(state):
        history.load_state_dict(state["callbacks"]["History"])
        parts.last.finished = True
    else:
        if state:
            log.info("going on from %s, epoch %d", last, state["epoch"] + 1)
        ckpt = str(last) if state else None
        reset_peak_memory(where)
        with freed_memory_kept():
            parts.trainer.fit(parts.task, datamodule=parts.data, ckpt_path=ckpt, weights_only=True)
    key, mode = spec.protocol.monitor, max if spec.protocol.monitor_mode == "max" else min
    scored = [row for row in history.rows if math.isfinite(row.get(key, math.nan))]
    best = mode(scored, key=lambda row: row[key]) if scored else {}
    return Fitted(
        {key: value for key, value in best.items() if key.startswith("val/")},
        {
            "epochs": len(history.rows),
            "best_epoch": int(best["epoch"]) if best else None,
            "images_per_s": history.images_per_s(),
            "peak_memory_mb": peak_memory_mb(where),
            **_kept(parts.task.frozen),
        },
    )
