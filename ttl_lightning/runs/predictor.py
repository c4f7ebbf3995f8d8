"""`load(run)`: a finished run, ready to predict; nothing of how it was trained is made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytorch_lightning as pl
from torch import Tensor

from ttl_lightning.data.inputs import GivenArrays, find_inputs, reader_of
from ttl_lightning.data.options import ImageView
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.sources.registry import source
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.views.evaluation import CropTransform, EvalTransform, evaluation
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import DataError, TTLError, WeightsError
from ttl_lightning.models.backbones.checkpoints import check_usable, read, sha256
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import stored
from ttl_lightning.runs.holding import completed
from ttl_lightning.runs.predict import Answer, answer
from ttl_lightning.tasks import classification as _classification  # noqa: F401 - makes it known
from ttl_lightning.tasks import regression as _regression  # noqa: F401 - likewise
from ttl_lightning.tasks import segmentation as _segmentation  # noqa: F401 - likewise
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.hooks import Batch
from ttl_lightning.tasks.registry import task_of

# What a result says of the model, beside its network and strategy.
DESCRIBED = ("pooling", "image_size", "in_channels", "mean", "std")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What becomes of an image before the network sees it, as the run evaluated.

    Attributes:
        image_size: spatial size of the network's input.
        in_channels: 1 (colour is averaged to grey) or 3 (grey is repeated).
        mean: one a channel, of values from 0 to 1.
        std: one a channel.
        view: how images become squares and how these are read; of studies the windows, too. None
            where the run's folder does not say it.
        augment: how training images varied, which decides what "train_scale" reads.
        reason: why there is no view; "" if there is one.
    """

    image_size: tuple[int, ...]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    view: ImageView | WindowView | None
    augment: Augment | None
    reason: str

    @property
    def evaluation(self) -> EvalTransform | CropTransform:
        """How stored squares become the network's input.

        Raises:
            DataError: if the run's folder does not say it.
        """
        if self.view is None or self.augment is None:
            raise DataError(self.reason)
        return evaluation(self.view.eval_view, self.augment, self.view.side, self.mean, self.std)


class Predictor(pl.LightningModule):
    """A finished run in evaluation mode: prepared images (N, C, *spatial) -> outputs (N, ...).

    `Trainer().predict(predictor, batches)` takes it, too; it has no optimizer.

    Attributes:
        task: what the run was trained for, with its `report`.
        preprocessing: what the images that it is given have been through.
        operating: the run's operating point, as its result has it; empty where it has none.
        weights: SHA-256 of the checkpoint.
    """

    def __init__(
        self,
        task: Task,
        preprocessing: Preprocessing,
        operating: Mapping[str, Any] = MappingProxyType({}),
        weights: str = "",
    ) -> None:
        super().__init__()
        self.task, self.preprocessing = task, preprocessing
        self.operating, self.weights = dict(operating), weights
        self.eval()

    def predict(self, inputs: str | Path | Sequence[Any]) -> Answer:
        """What the run says of images or studies, as it evaluated its own.

        Args:
            inputs: a file, a folder, a pattern or a table, or several of these, as `find_inputs`
                takes them; or arrays: images (H, W) or (H, W, 3) of uint8 or uint16, volumes (S, H,
                W). Arrays are named by their number.

        Returns:
            `probabilities` (n, classes) and more; what could not be read is in its `bad`.

        Raises:
            DataError: if there is nothing to predict, or the run does not say how it saw images.
        """
        volumes = isinstance(self.preprocessing.view, WindowView)
        given: list[Any] = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        if given and not all(isinstance(one, str | Path) for one in given):
            reader: Reader = GivenArrays(given, volumes=volumes)
            return answer([self], reader, [str(number) for number in range(len(given))])
        found = find_inputs([str(one) for one in given], volumes=volumes)
        return answer([self], reader_of(found.paths, volumes=volumes), found.ids)

    @property
    def model(self) -> TransferModel:
        """The trained network."""
        return cast(TransferModel, self.task.model)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One an output; none where the task knows no classes."""
        return tuple(getattr(self.task, "class_names", ()))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, *spatial) to outputs (N, ...)."""
        return cast(Tensor, self.task(images))

    def predict_step(self, batch: Batch) -> dict[str, Tensor]:
        """Predict a batch of "image" and "id" as the task does: what its outputs mean, by name."""
        return self.task.predict_step(batch)


def load(run: str | Path) -> Predictor:
    """A finished run, ready to predict, in evaluation mode on the CPU; runs no stored code.

    Args:
        run: the folder of a run that is completed, or a checkpoint in that of any.

    Raises:
        DataError: if there is no result beside it, or the run in the folder is not completed.
        WeightsError: if the checkpoint cannot be read, or does not fit.
    """
    path = Path(run)
    if not path.exists():
        raise DataError(f"there is no run {path} (seen from {Path.cwd()}).")
    whole = path.is_dir()
    there = RunFolder(path) if whole else RunFolder.of_checkpoint(path)
    checkpoint = there.best if whole else path
    result = completed(path) if whole else RunResult.load(there.path)
    if not checkpoint.is_file():
        raise WeightsError(f"there is no checkpoint {checkpoint}.")
    task = _task(result, there)
    try:
        tensors = read(checkpoint)
        check_usable(tensors, str(checkpoint))
        head = {key: value for key, value in tensors.items() if key.startswith("head.")}
        body = {f"backbone.{key}": value for key, value in tensors.items() if key not in head}
        task.model.load_state_dict({**body, **head})
    except RuntimeError as error:
        raise WeightsError(
            f"{checkpoint} does not fit the model of {there.result}: {error}"
        ) from error
    seen = _preprocessing(result, there.path)
    return Predictor(task, seen, result.operating, sha256(checkpoint))


def _task(result: RunResult, there: RunFolder) -> Task:
    """The task with the run's network, its weights random."""
    described = result.model
    kind: type[Task] = task_of(result)
    if lacking := [key for key in (*kind.remembered, *DESCRIBED) if key not in described]:
        raise DataError(f"{there.result}: model lacks {', '.join(lacking)}.")
    try:
        model = create_model(
            result.backbone,
            result.strategy,
            result.cutoff,
            # results of before there were other tasks name their classes alone
            described.get("outputs") or len(described["class_names"]),
            pooling=described["pooling"],
            in_channels=described["in_channels"],
            image_size=described["image_size"],
            weights=None,
            head=described.get("head", "linear"),
        )
        backbone = model.backbone
        backbone.mean, backbone.std = tuple(described["mean"]), tuple(described["std"])
        return kind.restored(model, described)
    except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{there.result}: model does not describe a network: {error}.") from error


def _preprocessing(result: RunResult, folder: Path) -> Preprocessing:
    """As result and configuration say it; only plain values are read."""
    size, channels, mean, std = (result.model[key] for key in DESCRIBED[1:])
    view, augment, reason = None, None, ""
    try:
        recipe = stored.rebuildable(folder)
        kind = source(recipe.data.options["_target_"])
        assert kind is not None  # or it could not be rebuilt
        given = {**kind.defaults, **recipe.data.options}
        own = {f.name: given[f.name] for f in fields(kind.view) if f.name in given}
        view = kind.view(**own)
        augment = Augment(**{k: v for k, v in recipe.augment.items() if k != "_target_"})
    except (TTLError, TypeError, ValueError) as error:
        reason = str(error)
    return Preprocessing(tuple(size), channels, tuple(mean), tuple(std), view, augment, reason)
