"""Radiographs as PNG of raw values, with their DICOM tags in a JSON file beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.readers.picture import FileImages, read_image
from ttl_lightning.data.readers.reading import Reading, to_storage
from ttl_lightning.data.readers.volume import naming
from ttl_lightning.errors import DataError

PHOTOMETRIC, BITS = "00280004", "00280101"
CENTRE, WIDTH = "00281050", "00281051"
VIEW_POSITION, SERIES = "00185101", "0008103E"
PERCENTILES = (0.5, 99.5)

_LATERAL = ("lat", "ll", "lateral", "perfil")


class BidsImages(FileImages):
    """Images whose values are those of the detector, brought to what a radiologist sees.

    Deep grey is clipped to the window that the tags name, without one to the image's own 0.5th and
    99.5th percentile; of MONOCHROME1 black and white are exchanged. Eight-bit images and colour,
    which somebody has made ready, come as they are.
    """

    def __init__(self, paths: list[Path], most_pixels: int) -> None:
        super().__init__(paths, None, most_pixels)

    def read(self, row: int) -> Reading:
        """Decode one.

        Raises:
            DataError: naming the file, if it or its tags cannot be read.
        """
        path = self._paths[row]
        found = read_image(path, None, self._most_pixels)
        if found.pixels.dtype == np.uint8:
            return found
        tags = tags_of(path)
        with naming(f"image {path}"):
            grey = found.pixels.astype(np.float64).mean(axis=0)
            shown = _windowed(grey, tags)
            if _text(tags, PHOTOMETRIC).upper() == "MONOCHROME1":
                shown = 1 - shown
            return found._replace(pixels=to_storage(shown, 0.0, 1.0))


def tags_of(path: Path) -> dict[str, Any]:
    """The DICOM tags beside an image, by their numbers; none where there is no such file.

    Raises:
        DataError: naming the file, if it holds no tags.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    with naming(beside):
        content = json.loads(beside.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError(f"cannot read {beside}: expected DICOM tags by their numbers.")
    return content


def projection(path: Path) -> str | None:
    """Of ap, pa and lateral, by the tags beside an image, else by its name; None: not said."""
    tags = tags_of(path)
    told = f"{_text(tags, VIEW_POSITION)} {_text(tags, SERIES)}".lower()
    words = told.replace("_", " ").replace("-", " ").replace(".", " ").split()
    in_name = path.stem.lower().replace("_", "-").split("-")
    for found in (words, in_name):
        if any(word in _LATERAL or word.startswith("lat") for word in found):
            return "lateral"
        for view in ("pa", "ap"):
            if view in found:
                return view
    return None


def _windowed(grey: NDArray[np.float64], tags: dict[str, Any]) -> NDArray[np.float64]:
    """Values of 16 bits from black, 0, to white, 1."""
    centre, width = _number(tags, CENTRE), _number(tags, WIDTH)
    if centre is not None and width:
        low, high = centre - width / 2, centre + width / 2
    else:
        low, high = (float(value) for value in np.percentile(grey, PERCENTILES))
    return np.clip((grey - low) / max(high - low, 1e-12), 0, 1)


def _text(tags: dict[str, Any], key: str) -> str:
    values = _values(tags, key)
    return str(values[0]) if values else ""


def _number(tags: dict[str, Any], key: str) -> float | None:
    try:
        return float(_values(tags, key)[0])
    except (IndexError, TypeError, ValueError):
        return None


def _values(tags: dict[str, Any], key: str) -> Sequence[Any]:
    found = tags.get(key)
    values = found.get("Value") if isinstance(found, dict) else None
    return values if isinstance(values, list) else []
