"""Where a run looks in images of which nothing is known: a picture a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from ttl_lightning.data.inputs import Inputs, reader_of
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError
from ttl_lightning.interpret.gradcam import grad_cam
from ttl_lightning.records.files import write_atomically
from ttl_lightning.runs.inference import on_device
from ttl_lightning.runs.predict import Seen
from ttl_lightning.runs.predictor import Predictor
from ttl_lightning.tasks.pictures import png

PANEL_INCHES = 3.2
HEAT, OPACITY = "inferno", 0.45
# Files of which the images are held at once.
IMAGES_AT_ONCE, STUDIES_AT_ONCE = 64, 1


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An image, or of a study the slice where most is seen.

    Attributes:
        name: of the file.
        said: the class that is explained, and its probability.
        image: (H, W), from 0 to 1, as the network sees it.
        heat: (H, W), from 0 to 1; see `grad_cam`.
    """

    name: str
    said: str
    image: Tensor
    heat: Tensor


def write_overlays(predictor: Predictor, inputs: Inputs, folder: Path) -> int:
    """Write `<name>.png` for each file that can be read and has none yet.

    Args:
        predictor: of classes, where it computes.
        inputs: what it predicts.
        folder: where to; names of subfolders are kept.

    Returns:
        How many were written.

    Raises:
        ConfigError: if the run predicts no classes, or the folder cannot be written.
    """
    if not getattr(predictor.task, "has_classes", False):
        raise ConfigError(
            f"gradcam=true explains classes, and the run is of task={predictor.task.report.name}."
        )
    left = [at for at, name in enumerate(inputs.ids) if not _place(folder, name).exists()]
    written = 0
    for found in explained(predictor, Inputs(*_only(inputs, left))):
        place = _place(folder, found.name)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, png(overlay(found)))
        except OSError as error:
            raise ConfigError(f"{place} cannot be written: {error.strerror}.") from error
        written += 1
    return written


def explained(predictor: Predictor, inputs: Inputs) -> Iterator[Explained]:
    """Each file's predicted class; of a study, in the window that has most of it."""
    volumes = isinstance(predictor.preprocessing.view, WindowView)
    step = STUDIES_AT_ONCE if volumes else IMAGES_AT_ONCE
    for start in range(0, len(inputs.ids), step):
        part = inputs.part(start, start + step)
        seen = Seen(predictor, reader_of(part.paths, volumes=volumes), part.ids)
        best: dict[int, tuple[float, Explained]] = {}
        for batch in seen.batches(one_view=True) if len(seen.rows) else ():
            for number, score, found in _of_batch(predictor, batch, seen, part.ids):
                if number not in best or score > best[number][0]:
                    best[number] = score, found
        yield from (found for _, found in best.values())


def _of_batch(
    predictor: Predictor, batch: dict[str, Any], seen: Seen, names: Sequence[str]
) -> Iterator[tuple[int, float, Explained]]:
    given = on_device(batch, predictor.device)
    images, places = given["image"], batch.get("study", batch["id"])
    scores = predictor.predict_step(given)["probabilities"]
    targets = scores.argmax(1)
    heat = grad_cam(predictor.model, images, targets.tolist()).cpu()
    how = predictor.preprocessing
    by_channel = (-1, *(1,) * (images.dim() - 2))
    mean, std = (torch.tensor(values).reshape(by_channel) for values in (how.mean, how.std))
    shown = (images.cpu() * std + mean).mean(1).clamp(0, 1)
    classes = predictor.class_names
    for row, (place, target) in enumerate(zip(places.tolist(), targets.tolist(), strict=True)):
        score = float(scores[row, target])
        image, warm = shown[row], heat[row]
        said = f"{classes[target]}: {score:.3f}"
        if warm.dim() == 3:
            at = int(warm.flatten(1).amax(1).argmax())
            image, warm, said = image[at], warm[at], f"{said}, slice {at + 1} of its window"
        yield place, score, Explained(names[int(seen.rows[place])], said, image, warm)


def overlay(found: Explained) -> Figure:
    """The image beside the image with its heat, and what the colours mean."""
    figure = Figure(figsize=(2 * PANEL_INCHES + 0.9, PANEL_INCHES + 0.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.imshow(found.image.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    heat = found.heat.numpy()
    right.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY * np.sqrt(heat))
    left.set_title(found.name[-40:], fontsize=8)
    right.set_title(found.said, fontsize=8)
    color_bar(figure, [right])
    return figure


def color_bar(figure: Figure, axes: Sequence[Any]) -> None:
    """What the colours of heat mean."""
    scale = ScalarMappable(Normalize(0, 1), HEAT)
    figure.colorbar(scale, ax=list(axes), label="heat, 1 is the image's most", shrink=0.6)


def _place(folder: Path, name: str) -> Path:
    """Of a file's picture; what leads out of the folder is left out of its name."""
    parts = [part for part in Path(name).parts if part not in ("..", ".", Path(name).anchor)]
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.png")


def _only(inputs: Inputs, places: Sequence[int]) -> tuple[tuple[str, ...], list[Path]]:
    return tuple(inputs.ids[at] for at in places), [inputs.paths[at] for at in places]
