"""Where runs look: Grad-CAM over chosen or most wrong samples, runs side by side.

Source: the paper's figures of Grad-CAM, which show strategies beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ttl_lightning.errors import ConfigError, check_choice, check_number
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Gradcam as Options
from ttl_lightning.interpret.gradcam import grad_cam
from ttl_lightning.interpret.overlays import HEAT, OPACITY, color_bar
from ttl_lightning.runs.open import OpenRun, open_run

SELECT = ("wrong", "first")
TARGETS = ("predicted", "true")
# Of a batch what a task judges its outputs by, and what names its samples.
TOLD = ("image", "label", "mask", "id", "study")
PANEL_INCHES = 2.2


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One run's view of some samples.

    Attributes:
        run: whose view it is.
        names: of the samples; of volumes, of the windows' studies.
        outputs: names of what the model's outputs stand for.
        labels: names of true classes, (n,); of several labels, that which is most wrong; of masks,
            the largest region, or "none".
        predicted: names of those, likewise.
        targets: the classes that are explained, (n,).
        probabilities: of the targets, (n,).
        missed: how far each sample is from being right, (n,), from 0 to 1.
        of_masks: whether regions are explained, and `missed` is 1 − Dice.
        images: (n, *spatial), grey, from 0 to 1.
        heat: (n, *spatial), from 0 to 1; see `grad_cam`.
        places: size of the unit's map, which the heat is interpolated from, (*spatial).
    """

    run: OpenRun
    names: list[str]
    outputs: tuple[str, ...]
    labels: list[str]
    predicted: list[str]
    targets: Tensor
    probabilities: Tensor
    missed: Tensor
    of_masks: bool
    images: Tensor
    heat: Tensor
    places: tuple[int, ...]


def explain(run: OpenRun, positions: Sequence[int], options: Options) -> Explained:
    """Explain a run's scores of some samples.

    Args:
        run: of any strategy.
        positions: of the samples in the split.
        options: what is explained, and from which unit's map.

    Raises:
        TTLError: if an option names what there is not.
    """
    check_choice("target", options.target, TARGETS)
    batch = _chosen(run, positions, options.split)
    images = batch["image"]
    with torch.no_grad():
        judged = run.task.judged(run.task.outputs(batch), batch)
    targets = judged.predicted if options.target == "predicted" else judged.true
    targets = targets.clamp(min=0)
    rows = torch.arange(len(targets))
    where = None if judged.where is None else judged.where[rows, targets].to(run.device)
    heat = grad_cam(run.after, images, targets.tolist(), options.unit, where)
    mean, std = (
        torch.tensor(values).reshape(-1, *(1,) * (images.dim() - 2))
        for values in (run.data.mean, run.data.std)
    )
    ids = run.data.sample_ids(options.split)
    return Explained(
        run,
        [ids[int(number)] for number in _places(batch)],
        judged.names,
        judged.named(judged.true),
        judged.named(judged.predicted),
        targets,
        judged.probabilities[rows, targets],
        judged.missed,
        judged.where is not None,
        (images.cpu() * std + mean).mean(1).clamp(0, 1),
        heat.cpu(),
        _map_size(run, images.shape[2:], options.unit),
    )


def most_wrong(run: OpenRun, split: str, count: int) -> list[int]:
    """Positions of the samples that are most wrong, the worst first: see `Judged.missed`."""
    found: list[tuple[float, int]] = []
    with torch.no_grad():
        for batch in run.batches(split):
            missed = run.task.judged(run.task.outputs(batch), batch).missed
            found += zip(missed.tolist(), batch["id"].tolist(), strict=True)
    return [number for _, number in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:count]]


def report(run: OpenRun, options: Options) -> Findings:
    """Table and overlays of `explain`, a column for each run."""
    check_number("count", options.count, 1, 64, integer=True)
    positions = _positions(run, options)
    runs = [run, *(open_run(folder, device=str(run.device)) for folder in options.others)]
    names = run.data.sample_ids(options.split)
    for other in runs[1:]:
        if other.data.sample_ids(options.split) != names:
            raise ConfigError(
                f"{other.folder} has other {options.split} samples than {run.folder}: runs side by "
                "side need the same."
            )
    found = [explain(one, positions, options) for one in runs]
    rows: list[dict[str, Any]] = [
        {
            "run": str(view.run.folder),
            "id": view.names[i],
            "label": view.labels[i],
            "predicted": view.predicted[i],
            "explained": view.outputs[int(view.targets[i])],
            "probability": float(view.probabilities[i]),
            "missed": float(view.missed[i]),
        }
        for view in found
        for i in range(len(positions))
    ]
    own = rows[: len(positions)]
    wrong = f"{sum(row['label'] != row['predicted'] for row in own)} of them wrong"
    if found[0].of_masks:
        wrong = f"mean Dice {1 - float(found[0].missed.mean()):.3f} as the network sees them"
    headline = (
        f"{len(positions)} samples of the {options.split} split, {wrong}, at "
        f"{options.unit or 'the last unit'}."
    )
    if blind := [str(view.run.folder) for view in found if prod(view.places) == 1]:
        headline += f" A map of one place does not say where: {', '.join(blind)}."
    return Findings(headline, rows, {}, {"": overlays(found)})


def overlays(found: Sequence[Explained]) -> Figure:
    """A row a sample: the image, then each run's heat on it. Of volumes, the hottest slice."""
    count = len(found[0].names)
    columns = 1 + len(found)
    size = (PANEL_INCHES * columns + 1.2, (PANEL_INCHES + 0.35) * count + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(count, columns, squeeze=False)
    for i, line in enumerate(panels):
        shown = _slice_of(found[0].heat[i])
        line[0].imshow(found[0].images[i][shown].numpy(), cmap="gray", vmin=0, vmax=1)
        label = found[0].labels[i]
        place = f", slice {shown + 1}" if isinstance(shown, int) else ""
        line[0].set_title(f"{found[0].names[i]}{place}\nlabel: {label}", fontsize=8)
        for axes, view in zip(line[1:], found, strict=True):
            run, heat = view.run, view.heat[i][shown].numpy()
            axes.imshow(view.images[i][shown].numpy(), cmap="gray", vmin=0, vmax=1)
            axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY * np.sqrt(heat))
            name = view.outputs[int(view.targets[i])]
            cut = f" {run.result.cutoff}" if run.result.cutoff else ""
            places = " × ".join(str(count) for count in view.places)
            score = f"{name}: {float(view.probabilities[i]):.2f}"
            axes.set_title(f"{run.result.strategy}{cut}, map {places}\n{score}", fontsize=8)
        for axes in line:
            axes.set_axis_off()
    color_bar(figure, list(panels[:, -1]))
    return figure


def _map_size(run: OpenRun, spatial: Sequence[int], unit: str | None) -> tuple[int, ...]:
    """Size of a unit's map, without images and channels."""
    return run.after.backbone.truncated(unit or "full").output_shape(spatial)[1:]


def _positions(run: OpenRun, options: Options) -> list[int]:
    check_choice("select", options.select, SELECT)
    if options.ids:
        return _named(run, options.split, options.ids)
    if options.select == "wrong":
        return most_wrong(run, options.split, options.count)
    first = run.batches(options.split, options.count)
    return [number for batch in first for number in batch["id"].tolist()]


def _named(run: OpenRun, split: str, ids: Sequence[str]) -> list[int]:
    """Positions of the samples of these names; of a study, the window with the highest score.

    Raises:
        UnknownNameError: if there is no such sample.
    """
    names = run.data.sample_ids(split)
    for name in ids:
        check_choice(f"{split} sample", name, names)
    best: dict[str, tuple[float, int]] = {}
    with torch.no_grad():
        for batch in run.batches(split):
            probabilities = run.task.judged(run.task.outputs(batch), batch).probabilities
            scores = probabilities[:, min(1, probabilities.shape[1] - 1) :].amax(1)
            places = _places(batch).tolist()
            for place, score, number in zip(places, scores, batch["id"].tolist(), strict=True):
                kept = best.get(names[place], (-1.0, 0))
                best[names[place]] = max(kept, (float(score), number))
    return [best[name][1] for name in ids]


def _places(batch: dict[str, Tensor]) -> Tensor:
    """Where a batch's samples are among the split's names: of volumes, those of the studies."""
    return batch["study"] if "study" in batch else batch["id"]


def _chosen(run: OpenRun, positions: Sequence[int], split: str) -> dict[str, Tensor]:
    """These samples as one batch, in this order."""
    wanted = set(positions)
    kept: dict[int, dict[str, Tensor]] = {}
    for batch in run.batches(split):
        for row, number in enumerate(batch["id"].tolist()):
            if number in wanted:
                kept[number] = {key: batch[key][row] for key in TOLD if key in batch}
        if len(kept) == len(wanted):
            break
    samples = [kept[number] for number in positions if number in kept]
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def _slice_of(heat: Tensor) -> Any:  # noqa: ANN401 - an index of NumPy
    """The whole of an image, of a volume its hottest slice."""
    return int(heat.flatten(1).amax(1).argmax()) if heat.dim() == 3 else slice(None)
