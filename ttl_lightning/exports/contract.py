"""What an exported network takes and gives, of a finished run: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError
from ttl_lightning.runs.predictor import Predictor
from ttl_lightning.tasks.classification import ClassificationTask
from ttl_lightning.tasks.regression import RegressionTask
from ttl_lightning.tasks.segmentation import SegmentationTask


@dataclass(frozen=True, slots=True)
class Contract:
    """How images become the network's input, and what its output means.

    Attributes:
        image_size: spatial size of the network's input.
        in_channels: of the network's input.
        channels: of a stored image: 3 (RGB) or 1 (grey).
        stored: height and width of stored images, or of the patches that are taken of them.
        patched: where the network sees patches: height and width of stored images, and of what
            evaluation reads of these (`factor` and `shift` say how) before it takes patches.
        fit: how images become squares of that size: "squash", "pad" or "crop".
        eval_view: how these are read; `factor` and `shift` say it in numbers.
        factor: from the stored image's coordinates to the view's, both from -1 to 1 between the
            outer edges.
        shift: added after it.
        mean: subtracted from values of 0 to 1, one a channel.
        std: divided by, one a channel.
        value_range: of volumes: the values of black, 0, and white, 1; None: each volume's own 0.5th
            and 99.5th percentile.
        tta: views whose mean the run's own test predictions are.
        task: the task's name.
        activation: "softmax", "sigmoid", or "linear", which scales numbers.
        outputs: what the channels of the result are the probabilities of, or the numbers.
        center: of numbers, what is added to each after `spread`.
        spread: of numbers, what the network's own output is multiplied by.
    """

    image_size: tuple[int, ...]
    in_channels: int
    channels: int
    stored: int
    patched: tuple[int, int] | None
    fit: str
    eval_view: str
    factor: float
    shift: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] | None
    tta: int
    task: str
    activation: str
    outputs: tuple[str, ...]
    center: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    @property
    def volume(self) -> bool:
        """Whether it takes volumes, and not images."""
        return len(self.image_size) == 3

    @property
    def masks(self) -> bool:
        """Whether it gives a probability a pixel, and not one an image."""
        return self.task == SegmentationTask.report.name

    @property
    def meaning(self) -> str:
        """What the channels of the result are, and the name that it has in a graph."""
        return "values" if self.activation == "linear" else "probabilities"

    def shape(self, *, inside: bool) -> tuple[int, ...]:
        """`(C, *spatial)` of one input, stored or prepared."""
        if not inside:
            return (self.in_channels, *self.image_size)
        return (self.channels, *self.image_size[:-2], self.stored, self.stored)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        """Of what `to_dict` gave, also by way of JSON."""
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**given)


def contract_of(predictor: Predictor) -> Contract:
    """That of a finished run.

    Raises:
        DataError: if the run's folder does not say how it read images.
        ConfigError: if its task is none whose outputs are known.
    """
    seen, task = predictor.preprocessing, predictor.task
    how = seen.evaluation
    view, augment = seen.view, seen.augment
    assert view is not None  # or there were no evaluation
    assert augment is not None
    stored = augment.stored_size(view.side)
    factor, shift = how.place(stored)
    volume = isinstance(view, WindowView)
    patched = view.patch != view.side
    activation, outputs = _meaning(task)
    return Contract(
        image_size=seen.image_size,
        in_channels=seen.in_channels,
        channels=1 if volume else seen.in_channels,
        stored=view.patch if patched else stored,
        patched=(stored, view.side) if patched else None,
        fit=view.fit,
        eval_view=view.eval_view,
        factor=factor,
        shift=shift,
        mean=seen.mean,
        std=seen.std,
        value_range=view.black_and_white if isinstance(view, WindowView) else None,
        tta=view.tta,
        task=task.report.name,
        activation=activation,
        outputs=outputs,
        center=task.center if isinstance(task, RegressionTask) else (),
        spread=task.spread if isinstance(task, RegressionTask) else (),
    )


def _meaning(task: object) -> tuple[str, tuple[str, ...]]:
    if isinstance(task, ClassificationTask):
        count = cast("Any", task.model).head.fc.out_features
        names = task.class_names or tuple(map(str, range(count)))
        return ("sigmoid" if task.task == "multilabel" else "softmax"), tuple(names)
    if isinstance(task, SegmentationTask):
        first = ("background",) if task.exclusive else ()
        return ("softmax" if task.exclusive else "sigmoid"), (*first, *task.regions)
    if isinstance(task, RegressionTask):
        return "linear", task.targets
    raise ConfigError(
        "export knows what classification, segmentation and regression predict, not "
        f"{type(task).__name__}."
    )
