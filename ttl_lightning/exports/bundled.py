"""Run a network on images: the code of a MONAI bundle, which has a copy of this file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

TABLE = "predictions_by_file.csv"
COLUMN = "output/"
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy")


def files(folder: str) -> list[str]:
    """The pictures in a folder, and arrays (C, *spatial) of values from 0 to 1 (.npy)."""
    found = sorted(str(p) for p in Path(folder).glob("*") if p.suffix.lower() in PICTURES)
    if not found:
        raise FileNotFoundError(f"there are no images in dataset_dir={folder!r}.")
    return found


@dataclass(frozen=True)
class LoadSquare:
    """A file as what the network takes, (C, *spatial) of values from 0 to 1.

    Attributes:
        size: height and width.
        channels: 3 (grey is repeated) or 1 (colour is averaged to grey).
        fit: "squash" resizes both sides; "pad" the longer one, with black bars; "crop" the shorter
            one, and keeps the middle.
    """

    size: int
    channels: int
    fit: str

    def __call__(self, file: str) -> dict[str, Any]:
        """The image and its name."""
        if file.endswith(".npy"):
            return {"image": np.load(file, allow_pickle=False).astype(np.float32), "name": file}
        with Image.open(file) as picture:
            grey = picture.mode in ("1", "L", "I;16", "I", "F")
            deep = picture.mode.startswith("I")
            kept = picture if deep else picture.convert("L" if grey else "RGB")
            pixels = np.asarray(kept, np.float32)
        planes = pixels[None] if grey else pixels.transpose(2, 0, 1)
        if self.channels == 1:
            planes = np.rint(planes.mean(0, keepdims=True))
        square = self._square(torch.from_numpy(planes.copy()))
        values = square / (65535 if deep else 255)
        return {"image": values.expand(self.channels, -1, -1).numpy().copy(), "name": file}

    def _square(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        longest = {"pad": max, "crop": min}.get(self.fit)
        inner = (self.size, self.size)
        if longest is not None:
            scale = self.size / longest(height, width)
            inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        if inner != (height, width):
            image = functional.interpolate(
                image[None], size=inner, mode="bilinear", antialias=True
            )[0].round()
        high, wide = inner
        if high > self.size or wide > self.size:
            top, left = (high - self.size) // 2, (wide - self.size) // 2
            return image[:, top : top + self.size, left : left + self.size]
        top, left = (self.size - high) // 2, (self.size - wide) // 2
        sides = (left, self.size - wide - left, top, self.size - high - top)
        return functional.pad(image, sides)


@dataclass(frozen=True)
class Saver:
    """Writes `predictions_by_file.csv`, or for a network of masks one array (K, *spatial) an image.

    Attributes:
        folder: where to; it is made.
        names: of the outputs.
    """

    folder: str
    names: Sequence[str]

    def __call__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """What was predicted, by the image's file."""
        place = Path(self.folder)
        place.mkdir(parents=True, exist_ok=True)
        rows = []
        for name, values in named:
            if values.ndim > 1:
                np.save(place / f"{Path(name).stem}.npy", values.numpy())
            else:
                rows.append([Path(name).name, *(f"{value:.9g}" for value in values.tolist())])
        if rows:
            with (place / TABLE).open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(["file", *(f"{COLUMN}{name}" for name in self.names)])
                writer.writerows(rows)


def run(
    batches: Iterable[dict[str, Any]],
    network: Callable[[Tensor], Tensor],
    inferer: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    saver: Saver,
) -> None:
    """Predict batches of "image" and "name", and save what was predicted."""
    with torch.no_grad():
        named = [
            pair
            for batch in batches
            for pair in zip(
                batch["name"],
                inferer(torch.as_tensor(batch["image"]), network).cpu(),
                strict=True,
            )
        ]
    saver(named)
