"""data=lungs: chest X-rays of Montgomery County and Shenzhen with masks of the lungs.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary
    diseases", Quant. Imaging Med. Surg. 4 (2014); masks of Shenzhen by Stirenko et al. (2018).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ttl_lightning.data.content import listing_hash
from ttl_lightning.data.readers.masks import MaskFiles, Meaning
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.samples import Samples, listed
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.errors import DataError

_NAME = re.compile(r"((?:MCUCXR|CHNCXR)_(\d{4})_([01]))(_mask)?\.png", re.IGNORECASE)
_SPLITS = ("train", "train", "train", "val", "test")
"""By an image's number, counted within its hospital: three, one and one of five."""


@dataclass(frozen=True, kw_only=True)
class LungsSource(Source):
    """The two sets as published, or merged into one folder; images without masks are left out.

    Below the path: `CXR_png/`, and masks in `masks/`, `mask/`, or `ManualMask/leftMask/` and
    `rightMask/`, which are joined. A class says tuberculosis or not. Splits go by the numbers in
    the names, so that both hospitals are in each.

    Attributes:
        path: the folder that has these, at any depth.

    Raises:
        ConfigError: if no path is given.
        DataError: if there is no such folder.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    name: str = "lungs"
    path: str | Path | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        if not existing_path(self.path).is_dir():
            raise DataError(f"data.path must be a folder, {self.path} is a file.")

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the names of images and masks and of their sizes."""
        images, masks = _found(existing_path(options["path"]))
        every = [*images.values(), *(path for files in masks.values() for path in files)]
        return {"listing": listing_hash((f"{p.parent.name}/{p.name}", p) for p in every)}

    def load(self, side: int) -> Samples:
        """Pair the files.

        Raises:
            DataError: naming masks without images, or saying what is not there.
        """
        del side
        root = existing_path(self.path)
        images, masks = _found(root)
        alone = sorted(masks.keys() - images.keys())
        if alone:
            raise DataError(f"masks below {root} have no image: {listed(alone)}.")
        without = sorted(images.keys() - masks.keys())
        names = sorted(images.keys() & masks.keys())
        counts = {start: sum(n.startswith(start) for n in names) for start in ("CHN", "MCU")}
        notes = [f"{counts['MCU']} images of Montgomery County, {counts['CHN']} of Shenzhen."]
        if without:
            notes.append(f"{len(without)} images without a mask were left out: {listed(without)}.")
        return Samples(
            ids=tuple(names),
            labels=np.array([int(name[-1]) for name in names], np.int64),
            splits=np.array(_by_number(names)),
            class_names=("normal", "tuberculosis"),
            reader=FileImages([images[name] for name in names]),
            notes=tuple(notes),
            masks=MaskFiles([[masks[name]] for name in names], Meaning(above=127)),
            regions=("background", "lungs"),
        )


def _found(root: Path) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Images, and the files of masks, by the images' names in capitals.

    Raises:
        DataError: if one of the two is not there, or an image is there twice.
    """
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        name, folder = match[1].upper(), path.parent.name.lower()
        if match[4] or "mask" in folder:
            masks.setdefault(name, []).append(path)
        elif name in images:
            raise DataError(f"{name} is both {images[name]} and {path}.")
        else:
            images[name] = path
    for what, found in (("images", images), ("masks", masks)):
        if not found:
            raise DataError(
                f"data.path: no {what} below {root}; expected CXR_png/MCUCXR_0001_0.png and "
                "CXR_png/CHNCXR_0001_0.png, and masks in masks/, mask/ or ManualMask/."
            )
    return images, masks


def _by_number(names: list[str]) -> list[str]:
    """The splits of images, three of five for training, in the order of each hospital's numbers."""
    turn: dict[str, int] = {}
    splits = []
    for name in names:  # sorted, so by number
        place = turn.get(name[:3], 0)
        splits.append(_SPLITS[place % len(_SPLITS)])
        turn[name[:3]] = place + 1
    return splits
