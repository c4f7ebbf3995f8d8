"""A finished run, opened again: its data, and its model before and after training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttl_lightning.data.module import DataModule
from ttl_lightning.errors import check_choice, check_number
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import stored
from ttl_lightning.runs.build import initial_model, read_data
from ttl_lightning.runs.callbacks.progress import watched
from ttl_lightning.runs.holding import completed
from ttl_lightning.runs.inference import device_of
from ttl_lightning.runs.predictor import load
from ttl_lightning.tasks.base import Task

UNITS = ("all", "blocks")


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A completed run.

    Attributes:
        folder: of the run.
        result: what the run recorded.
        data: the data that it was trained on, set up.
        before: the model that training began with, on `device`, in evaluation mode.
        after: the model of the best epoch, likewise.
        device: where both are.
        task: what the model after training was trained for.
    """

    folder: Path
    result: RunResult
    data: DataModule
    before: TransferModel
    after: TransferModel
    device: torch.device
    task: Task

    @property
    def title(self) -> str:
        """`phantom · resnet18 · ttl cutoff=block3.2 · seed 0`."""
        result = self.result
        cutoff = f" cutoff={result.cutoff}" if result.cutoff else ""
        return f"{result.data} · {result.backbone} · {result.strategy}{cutoff} · seed {result.seed}"

    def batches(self, split: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """A split's samples as evaluation sees them, in order, on the models' device.

        Of volumes that a task scores whole, its `excerpt`, as analyses compare maps of one size.

        Args:
            split: "train", "val" or "test".
            most: how many samples at most; None takes all.

        Raises:
            ConfigError: if `most` is not positive.
        """
        if most is not None:
            check_number("most", most, 1, integer=True)
        left = most
        for batch in _shown(self.data.plain_dataloader(split), split):
            if left is not None:
                batch = {key: value[:left] for key, value in batch.items()}
                left -= len(batch["label"])
            yield {
                key: value.to(self.device) if isinstance(value, Tensor) else value
                for key, value in self.task.excerpt(batch).items()
            }
            if left == 0:
                return

    def units(self, which: str) -> tuple[str, ...]:
        """Names of the trained backbone's units: "all", or the last ones of stem, blocks and tail.

        Raises:
            UnknownNameError: for another word.
        """
        check_choice("units", which, UNITS)
        backbone = self.after.backbone
        if which == "all":
            return backbone.cutoffs
        return tuple({unit.section: unit.name for unit in backbone.units}.values())

    def place(self, kind: str) -> Path:
        """Path below the run's folder, without a suffix, for the results of a kind."""
        folder = RunFolder(self.folder).analysis
        folder.mkdir(exist_ok=True)
        return folder / kind


def open_run(run: str | Path, overrides: Sequence[str] = (), device: str = "auto") -> OpenRun:
    """Open a run's folder.

    Args:
        run: the folder.
        overrides: of the data's keys, such as `data.path=…` where the data have moved.
        device: "cpu", "cuda" or "auto".

    Raises:
        DataError: if the folder holds no completed run.
        ConfigError: if its data come from code that is not this package's.
        TTLError: if its data or weights are not to be had any more.
    """
    folder = Path(run)
    result = completed(folder)
    recipe = stored.rebuildable(folder, overrides)
    data = read_data(recipe)
    where = device_of(device)
    predictor = load(folder)
    before = initial_model(recipe, predictor.task.num_outputs(data)).eval().to(where)
    return OpenRun(folder, result, data, before, predictor.model.to(where), where, predictor.task)


def _shown(batches: Iterable[dict[str, Any]], split: str) -> Iterator[dict[str, Any]]:
    """With a bar, if a person is watching."""
    if not watched():
        yield from batches
        return
    from rich.progress import track

    yield from track(batches, description=split, transient=True)
