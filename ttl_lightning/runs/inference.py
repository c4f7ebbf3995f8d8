"""A finished run's task over batches, as evaluation goes over them, without a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ttl_lightning.errors import ConfigError
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.gather import Rows, merge


def rows_of(task: Task, batches: Iterable[dict[str, Any]]) -> Rows:
    """What the task keeps of each sample, sorted by its number.

    Args:
        task: in evaluation mode, where it computes.
        batches: of the samples, in any order.
    """
    kept: list[Rows] = []
    with torch.inference_mode():
        for batch in batches:
            seen = on_device(batch, task.device)
            rows = {"id": seen["id"], **task.rows(task.outputs(seen), seen)}
            kept.append({key: value.cpu().numpy() for key, value in rows.items()})
    return merge(kept)


def on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch, its tensors on a device."""
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}


def device_of(name: str) -> torch.device:
    """Of "auto", "cpu" or "cuda".

    Raises:
        ConfigError: if there is no GPU.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("device=cuda: there is no GPU that PyTorch can use. Allowed: auto, cpu.")
    return torch.device(("cuda" if there else "cpu") if name == "auto" else name)


def check_same(tasks: Sequence[Task]) -> None:
    """Demand tasks whose predictions can be averaged.

    Raises:
        ConfigError: naming what differs.
    """
    first = tasks[0]
    for task in tasks[1:]:
        if task.report.name != first.report.name:
            raise ConfigError(
                f"the runs are of different tasks: {first.report.name}, {task.report.name}."
            )
        ours, theirs = first.described(), task.described()
        for key in ours:
            if ours[key] != theirs[key]:
                raise ConfigError(f"the runs differ in {key}: {ours[key]} and {theirs[key]}.")
