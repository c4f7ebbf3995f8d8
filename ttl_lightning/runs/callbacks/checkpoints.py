"""Checkpoints that a crash cannot tear, and from which a run goes on as if it had not stopped."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.checkpoints import load_plain
from ttl_lightning.records.files import write_atomically
from ttl_lightning.records.schema import WAY_OUT
from ttl_lightning.runs.callbacks.history import History

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs to disk, then renames.

    Lightning's own save stages in the temporary folder: from another filesystem its move is a copy,
    and a crash in it leaves a torn file in place of the good one (Lightning issue 21253).
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint to a local path."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, buffer.getvalue())


class BestCheckpoint(ModelCheckpoint):
    """Lightning's callback, which knows its best score again where the run's folder was moved.

    Lightning's own forgets the score when `dirpath` is another, and the next epoch, however bad,
    takes the place of the best one.
    """

    @property
    def state_key(self) -> str:
        """As Lightning's own class has it, which older checkpoints hold."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint, its files by where they are now."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        moved = {key: here(state_dict.get(key) or "") for key in _PATHS}
        kept = {here(path): score for path, score in (state_dict["best_k_models"] or {}).items()}
        now = {"dirpath": self.dirpath, "best_k_models": kept}
        super().load_state_dict({**state_dict, **moved, **now})


def best_checkpoint(
    path: Path, monitor: str, mode: str, others: Sequence[Callback] = ()
) -> ModelCheckpoint:
    """Lightning's callback, set to keep one file of weights, by a validation metric.

    Args:
        path: of the file.
        monitor: the metric.
        mode: "min" or "max".
        others: that run beside it. Where one of them averages weights, the file is a whole
            checkpoint: in one of weights alone Lightning does not put the average that was
            validated, but the weights that were trained last.
    """
    return BestCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        monitor=monitor,
        mode=mode,
        save_top_k=1,
        auto_insert_metric_name=False,
        enable_version_counter=False,
        save_weights_only=not any(isinstance(other, WeightAveraging) for other in others),
    )


class LastCheckpoint(Callback):
    """Keeps `last.ckpt`, from which a run resumes to the same result, bit by bit on a CPU.

    It is written when an epoch starts, and when training ends: at an epoch's end Lightning has not
    yet stepped a ReduceLROnPlateau, and would not do so after resuming. Holds the state of the
    random number generators, which Lightning's checkpoints lack.

    Args:
        path: of the file.
        until_epoch: pause when so many epochs are trained in all, with the schedule of the whole
            run, so that it can go on later as if it had not stopped; None: to the end.
    """

    def __init__(self, path: Path, until_epoch: int | None = None) -> None:
        self.path = path
        self.until_epoch = until_epoch
        self._max_epochs: int | None = None
        self.finished = False
        self._random: dict[str, Any] | None = None
        self._resumed = self._saving = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the end nearer, now that the schedule knows the real one."""
        self._max_epochs = trainer.max_epochs
        if self.until_epoch is not None and self._max_epochs is not None:
            trainer.fit_loop.max_epochs = min(self.until_epoch, self._max_epochs)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the generators when resuming; else save, from the second epoch on."""
        if self._resumed and self._random is not None:
            _set_random_state(self._random)
        elif trainer.current_epoch > 0:
            self._save(trainer)
        self._resumed = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end, so that a run cut off after it trains no further; or the pause."""
        paused = trainer.max_epochs != self._max_epochs and not trainer.should_stop
        self.finished = not paused
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._random = _random_state()
        self._saving = True
        trainer.save_checkpoint(self.path)
        self._saving = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Count the coming epoch as not begun, or Lightning would resume in the one before."""
        if self._saving and not self.finished:
            progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
            for count in (progress["current"], progress["total"]):
                count["ready"] = count["processed"]

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"finished": self.finished, "random": self._random}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the generators' states from a checkpoint."""
        self._random, self._resumed = state_dict["random"], True


def resumable(path: Path, module: pl.LightningModule) -> dict[str, Any]:
    """A `last.ckpt` that a run can go on from.

    Args:
        path: the file.
        module: what goes on, whose tensors the file must have unless training had ended.

    Raises:
        WeightsError: naming the file, if it cannot be read, lacks a part, or is of another model.
    """
    state = load_plain(path)
    problem = _lacking(state) if isinstance(state, dict) else "it holds no parts by name"
    if isinstance(state, dict) and not problem and not is_finished(state):
        wanted = {key: value.shape for key, value in module.state_dict().items()}
        found = {key: getattr(value, "shape", None) for key, value in state["state_dict"].items()}
        differ = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if differ:
            problem = f"{len(differ)} tensors are not this model's, such as {differ[0]}"
    if problem:
        raise WeightsError(f"{path} is damaged: {problem}. {WAY_OUT}")
    return cast("dict[str, Any]", state)


def _lacking(state: Mapping[str, Any]) -> str:
    """Which part of a checkpoint is missing or of another kind; "" if none is."""
    kinds = {"epoch": int, "state_dict": dict, "loops": dict, "callbacks": dict}
    for key, kind in kinds.items():
        if not isinstance(state.get(key), kind):
            return f"it lacks {key}"
    for name in (LastCheckpoint.__qualname__, History.__qualname__):
        if not isinstance(state["callbacks"].get(name), dict):
            return f"it lacks what {name} kept"
    return ""


def is_finished(checkpoint: Mapping[str, Any]) -> bool:
    """Whether training had ended when this `last.ckpt` was written."""
    return bool(
        checkpoint.get("callbacks", {}).get(LastCheckpoint.__qualname__, {}).get("finished")
    )


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - other libraries draw from it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])
