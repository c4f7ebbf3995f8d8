"""`load(run)`: a finished run's model, ready to predict."""

from __future__ import annotations

from pathlib import Path

from ttl_lightning.errors import DataError, WeightsError
from ttl_lightning.models.backbones.checkpoints import check_usable, read
from ttl_lightning.models.create import create_model
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.holding import completed
from ttl_lightning.tasks import classification as _classification  # noqa: F401 - makes it known
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.registry import task_of

# What a result says of the model, beside its network and strategy.
DESCRIBED = ("pooling", "in_channels", "image_size", "mean", "std")


def load(run: str | Path) -> Task:
    """A finished run, ready to predict, in evaluation mode on the CPU; runs no stored code.

    Args:
        run: the folder of a run that is completed, or a checkpoint in that of any.

    Raises:
        DataError: if there is no result beside it, or the run in the folder is not completed.
        WeightsError: if the checkpoint cannot be read, or does not fit.
    """
    path = Path(run)
    whole = path.is_dir()
    there = RunFolder(path) if whole else RunFolder.of_checkpoint(path)
    checkpoint = there.best if whole else path
    result = completed(path) if whole else RunResult.load(there.path)
    if not checkpoint.is_file():
        raise WeightsError(f"there is no checkpoint {checkpoint}.")
    described = result.model
    kind: type[Task] = task_of(result)
    if lacking := [key for key in (*kind.remembered, *DESCRIBED) if key not in described]:
        raise DataError(f"{there.result}: model lacks {', '.join(lacking)}.")
    try:
        # results of before there were other tasks name their classes alone
        outputs = described.get("outputs") or len(described["class_names"])
        model = create_model(
            result.backbone,
            result.strategy,
            result.cutoff,
            outputs,
            pooling=described["pooling"],
            in_channels=described["in_channels"],
            image_size=described["image_size"],
            weights=None,
        )
        backbone = model.backbone
        backbone.mean, backbone.std = tuple(described["mean"]), tuple(described["std"])
        task = kind.restored(model, described)
    except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{there.result}: model does not describe a network: {error}.") from error
    try:
        tensors = read(checkpoint)
        check_usable(tensors, str(checkpoint))
        head = {key: value for key, value in tensors.items() if key.startswith("head.")}
        body = {f"backbone.{key}": value for key, value in tensors.items() if key not in head}
        model.load_state_dict({**body, **head})
    except RuntimeError as error:
        raise WeightsError(
            f"{checkpoint} does not fit the model of {there.result}: {error}"
        ) from error
    return task.eval()
