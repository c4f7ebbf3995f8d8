"""Samples that a model is most wrong about, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

MOST = 12
COLUMNS, PANEL_INCHES = 4, 2.3
NAME_LETTERS = 30


def contact_sheet(data: Any, split: str, said: Mapping[int, str]) -> Figure:
    """A panel a sample, with its name and what is said of it; of volumes the middle slice.

    Args:
        data: set up.
        split: whose samples these are.
        said: by the sample's number in the split, in the order to be shown.
    """
    names = data.sample_ids(split)
    rows = max(1, math.ceil(len(said) / COLUMNS))
    columns = max(1, min(COLUMNS, len(said)))
    size = (PANEL_INCHES * columns, (PANEL_INCHES + 0.45) * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels:
        axes.set_axis_off()
    for axes, (number, text) in zip(panels, said.items(), strict=False):
        image, place = picture_of(data, split, number)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{_short(names[number])}{place}\n{text}", fontsize=7)
    return figure


def picture_of(data: Any, split: str, number: int) -> tuple[Any, str]:
    """A sample as the network sees it, (H, W) or (H, W, 3) from 0 to 1, and which slice that is."""
    dataset = data.plain_dataloader(split).dataset
    windows, start = getattr(dataset, "windows", None), 0
    index = number
    if windows is not None:  # of a study its middle window
        own = np.flatnonzero(windows.grid.studies == number)
        index = int(own[len(own) // 2])
        start = int(windows.grid.starts[index])
    image: Tensor = dataset[0, index]["image"].cpu()
    by_channel = (-1, *(1,) * (image.dim() - 1))
    mean, std = (torch.tensor(values).reshape(by_channel) for values in (data.mean, data.std))
    shown, place = (image * std + mean).clamp(0, 1), ""
    if shown.dim() == 4:
        middle = shown.shape[1] // 2
        shown, place = shown[:, middle], f", slice {start + middle + 1}"
    grey = len(shown) != 3 or bool((shown.amax(0) - shown.amin(0)).max() < 1e-4)
    return (shown.mean(0) if grey else shown.permute(1, 2, 0)).numpy(), place


def worst(missed: Sequence[float], ids: Sequence[int], most: int = MOST) -> list[int]:
    """Places of the most missed, the worst first, of equals the lower id; NaN is not missed."""
    known = [place for place, value in enumerate(missed) if not math.isnan(value)]
    return sorted(known, key=lambda place: (-missed[place], ids[place]))[:most]


def _short(name: str) -> str:
    return name if len(name) <= NAME_LETTERS else f"…{name[1 - NAME_LETTERS :]}"
