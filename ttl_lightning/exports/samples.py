"""Images to compare an export on: stored, prepared as evaluation does, and what the run says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import ImageView
from ttl_lightning.data.readers.picture import is_image, read_image
from ttl_lightning.data.transforms import Key
from ttl_lightning.data.views.dataset import as_batch
from ttl_lightning.data.views.evaluation import CropTransform, EvalTransform
from ttl_lightning.data.views.fit import ImageForm
from ttl_lightning.errors import ConfigError, DataError, TTLError
from ttl_lightning.exports.contract import Contract
from ttl_lightning.runs import stored
from ttl_lightning.runs.build import read_data
from ttl_lightning.runs.predictor import Predictor

MOST = 16


@dataclass(frozen=True)
class Stored:
    """Stored images, grey repeated for each channel; masks as evaluation reads them.

    Attributes:
        evaluation: how evaluation reads.
        channels: of the result.
        reads: read images as evaluation does, but leave their values alone; patches are taken of
            such.
    """

    evaluation: EvalTransform | CropTransform
    channels: int
    reads: bool

    @property
    def period(self) -> int:
        """As of `Transform`."""
        return 1

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """(N, 1 or C, *spatial) -> (N, channels, *spatial), of values from 0 to 1."""
        seen = self.evaluation.read(images) if self.reads else images
        return seen.expand(-1, self.channels, *seen.shape[2:])

    def masks(self, masks: Tensor, keys: Sequence[Key]) -> Tensor:
        """As of the evaluation."""
        return self.evaluation.masks(masks, keys)

    def area(self, stored_size: int) -> float:
        """As of the evaluation."""
        return self.evaluation.area(stored_size)

    def place(self, stored_size: int) -> tuple[float, float]:
        """As of the evaluation."""
        return self.evaluation.place(stored_size)


@dataclass(frozen=True)
class Samples:
    """Some images.

    Attributes:
        stored: (N, C, *spatial) of values from 0 to 1.
        prepared: the network's input.
        expected: the run's own probabilities or values, float64.
        source: what they are, in words.
    """

    stored: Tensor
    prepared: Tensor
    expected: Tensor
    source: str

    def inputs(self, *, inside: bool) -> Tensor:
        """What an export takes."""
        return self.stored if inside else self.prepared


def data_of(run: Path, overrides: Sequence[str]) -> DataModule:
    """The run's data, set up.

    Raises:
        DataError: if they are not to be had, with the ways out.
    """
    try:
        return read_data(stored.rebuildable(run, overrides))
    except TTLError as error:
        raise DataError(
            f"the run's data are not to be had ({error}) Give data.path=… where they have moved, "
            "or images=FOLDER to compare the export on other images."
        ) from error


def of_data(data: DataModule, predictor: Predictor, contract: Contract) -> Samples:
    """Samples spread evenly over the test split; of what is seen by windows, one of each."""
    plain, raw = (_dataset(data, "test", how) for how in (None, as_stored(data, contract)))
    chosen = spread(len(plain), MOST)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for index in chosen:
        prepared, unprepared = (_sample(each, index, predictor, contract) for each in (plain, raw))
        expected = _expected(predictor, prepared, contract)
        kept.append((unprepared["image"], prepared["image"], expected))
    images, inputs, found = (torch.cat(part) for part in zip(*kept, strict=True))
    return Samples(images, inputs, found, f"{len(chosen)} images of the run's test split")


def for_calibration(
    data: DataModule, predictor: Predictor, contract: Contract, most: int, *, inside: bool
) -> Iterator[NDArray[np.float32]]:
    """Training images, spread evenly over the split, one at a time, as an export takes them."""
    dataset = _dataset(data, "train", as_stored(data, contract) if inside else None)
    for index in spread(len(dataset), most):
        image: Tensor = _sample(dataset, index, predictor, contract)["image"]
        yield image.contiguous().numpy()


def as_stored(data: DataModule, contract: Contract) -> Any:
    """What reads a split's images as an export with its preprocessing inside takes them."""
    return Stored(data.evaluation, contract.channels, reads=contract.patched is not None)


def _dataset(data: DataModule, split: str, transform: Any) -> Any:
    return data.plain_dataloader(split, transform).dataset


def _sample(
    dataset: Any,
    index: int,
    predictor: Predictor,
    contract: Contract,
) -> dict[str, Any]:
    batch = predictor.task.excerpt(dataset.__getitems__([(0, index)]))
    if contract.patched:
        start = (batch["image"].shape[-1] - contract.stored) // 2
        part = slice(start, start + contract.stored)
        batch["image"] = batch["image"][..., part, part]
    return batch


def of_images(folder: Path, predictor: Predictor, contract: Contract) -> Samples:
    """Images in a folder, read as the run reads them.

    Raises:
        ConfigError: if the run sees volumes, or there are no images.
        DataError: naming a file that cannot be read.
    """
    view = predictor.preprocessing.view
    if not isinstance(view, ImageView):
        raise ConfigError("images=… is for runs on images, and this one saw volumes.")
    files = sorted(path for path in folder.glob("*") if path.is_file() and is_image(path))[:MOST]
    if not files:
        raise ConfigError(f"images={folder}: there are no images in this folder.")
    form = ImageForm(contract.stored, view.in_channels, view.fit)
    images = as_batch([form(read_image(path).pixels) for path in files])
    keys = [(0, index) for index in range(len(files))]
    evaluation = predictor.preprocessing.evaluation
    if contract.patched:
        raise ConfigError("images=… is for runs that see whole images, and this one saw patches.")
    batch = {"image": evaluation(images, keys), "id": torch.arange(len(files))}
    return Samples(
        Stored(evaluation, contract.channels, reads=False)(images, keys).contiguous(),
        batch["image"],
        _expected(predictor, batch, contract),
        f"{len(files)} images of {folder}, not of the run's data",
    )


def spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, spread evenly."""
    taken = min(count, most)
    return [int(at) for at in (np.arange(taken) + 0.5) * count / max(taken, 1)]


def _expected(predictor: Predictor, batch: dict[str, Any], contract: Contract) -> Tensor:
    with torch.no_grad():
        found: Tensor = predictor.task.predict_step(batch)[contract.meaning]
    return found.double()
