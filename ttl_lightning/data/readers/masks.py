"""Masks as files: which value stands for which region, and several files of one image joined."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ttl_lightning.data.content import file_mark
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.nifti import load_nifti, nifti_bytes
from ttl_lightning.data.readers.npz_members import check_members
from ttl_lightning.data.readers.picture import NIFTI, read_image
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.readers.studies import StudyFiles, read_volume
from ttl_lightning.data.readers.volume import naming
from ttl_lightning.data.samples import IGNORED
from ttl_lightning.errors import DataError

Value = int | tuple[int, int, int]
NPZ = (".npz", ".npy")
COLOURS = 1 << 24
"""From here on a number stands for a colour; below, for a grey value."""


@dataclass(frozen=True)
class Meaning:
    """What values of masks stand for.

    Attributes:
        values: of the regions, in the order of their numbers from 1 on: grey values, or colours;
            None: masks have 0 and one other value, whichever it is.
        above: from where on, where that is said, a pixel is of the one region, since masks that
            were resized or packed with loss have values between.
    """

    values: tuple[Value, ...] | None = None
    above: int | None = None

    def numbers(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Region numbers (*spatial) of pixels (C, *spatial), 0 the background, `IGNORED` unknown.

        Raises:
            ValueError: naming the values that stand for nothing.
        """
        if self.above is not None:
            return np.asarray(pixels.max(axis=0) > self.above, np.uint8)
        found = _coded(pixels)
        if self.values is None:
            others = np.unique(found[found != 0])
            if len(others) > 1:
                shown = ", ".join(map(_named, others[:5]))
                raise ValueError(
                    f"the mask has {len(others)} values beside 0 ({shown}, …): say what they are, "
                    "as in data.regions={left: 1, right: 2}"
                )
            return np.asarray(found != 0, np.uint8)
        numbers = np.full(found.shape, IGNORED, np.uint8)
        numbers[found == 0] = 0
        left = (found != 0) & (found != IGNORED)
        for number, value in enumerate(self.values, 1):
            of_region = found == _code(value)
            numbers[of_region] = number
            left &= ~of_region
        if left.any():
            known = ", ".join(map(str, (0, *self.values)))
            raise ValueError(
                f"the mask has the value {_named(found[left][0])}, which is no region: "
                f"data.regions has {known}"
            )
        return numbers


class MaskFiles:
    """Masks of images by row: of each layer the files that are joined to it.

    Args:
        files: by row and layer. One layer has the numbers of regions that exclude each other, (1,
            H, W); several have each one region, (layers, H, W) of 0 and 1.
        meaning: of the files' values.
        most_pixels: of a file; a larger one is refused before it is decoded.
    """

    decoders = 8

    def __init__(
        self,
        files: Sequence[Sequence[Sequence[Path]]],
        meaning: Meaning,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self._files, self._meaning, self._most_pixels = files, meaning, most_pixels

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def read(self, row: int) -> Reading:
        """Decode and join one image's.

        Raises:
            DataError: naming the file that cannot be read, or has a value without a region.
        """
        layers = [self._joined(files) for files in self._files[row]]
        if len({layer.shape for layer in layers}) > 1:
            raise DataError(f"the masks of one image differ in size: {self._files[row][0][0]}, ….")
        return Reading(np.stack(layers))

    def _joined(self, files: Sequence[Path]) -> NDArray[np.uint8]:
        joined: NDArray[np.uint8] | None = None
        for path in files:
            pixels = _pixels(path, self._most_pixels)
            with naming(f"mask {path}"):
                numbers = self._meaning.numbers(pixels)
                if joined is not None and joined.shape != numbers.shape:
                    raise ValueError(f"it is of another size than {files[0].name}, its image's too")
                joined = numbers if joined is None else np.where(numbers, numbers, joined)
        assert joined is not None  # each layer has a file
        return joined

    def fingerprint(self, row: int) -> str:
        """Paths, times and sizes, and what values mean.

        Raises:
            DataError: naming the file, if it does not exist.
        """
        digest = hashlib.blake2b(repr(self._meaning).encode(), digest_size=16)
        for path in (path for layer in self._files[row] for path in layer):
            with naming(f"mask {path}"):
                digest.update(f"{file_mark(path)}\n".encode())
        return f"masks|{[len(layer) for layer in self._files[row]]}|{digest.hexdigest()}"


class MaskStudies(StudyFiles):
    """Masks of studies by row, one file or folder each.

    Args:
        paths: as `find_studies` gives them.
        meaning: of their values.
    """

    def __init__(self, paths: list[Path], meaning: Meaning) -> None:
        super().__init__(paths)
        self._meaning = meaning

    def read(self, row: int) -> Reading:
        """One study's, (S, H, W).

        Raises:
            DataError: naming the file that cannot be read, or has a value without a region.
        """
        found = read_volume(self._paths[row])
        with naming(f"mask {self._paths[row]}"):
            return found._replace(pixels=self._meaning.numbers(found.pixels[None]))

    def fingerprint(self, row: int) -> str:
        """Also what values mean."""
        return f"mask|{self._meaning!r}|{super().fingerprint(row)}"


def mask_files(
    reader: Reader, row: int, name: str, mask: NDArray[np.bool_], *, overlap: bool
) -> list[tuple[str, bytes]]:
    """A mask as files of its image's kind, with their names.

    Args:
        reader: of the references.
        row: of the image.
        name: of the image; of what would leave its folder only the last part counts.
        mask: (regions, H, W) or (regions, S, H, W).
        overlap: regions lie in a file each; else one has their numbers, 0 for the background.
    """
    name = "/".join(part for part in Path(name).parts if part not in ("..", "/")).replace(":", "_")
    if overlap:
        return [
            (f"{name}.{number}.png", _png(region * np.uint8(255)))
            for number, region in enumerate(mask, 1)
        ]
    numbers = np.zeros(mask.shape[1:], np.uint8)
    for number, region in enumerate(mask, 1):
        numbers[region] = number
    if mask.ndim == 3:
        return [(f"{name}.png", _png(numbers))]
    source = reader.path(row) if isinstance(reader, StudyFiles) else None
    known = source if source is not None and source.name.lower().endswith(NIFTI) else None
    content = nifti_bytes(numbers, known, reader.read(row).spacing_mm)
    return [(f"{name}.nii.gz", content)]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _pixels(path: Path, most_pixels: int) -> NDArray[Any]:
    """A mask's own values, (C, H, W)."""
    name = path.name.lower()
    if name.endswith(NPZ):
        with naming(f"mask {path}"):
            return _array(path)[None]
    if name.endswith(NIFTI):
        with naming(f"mask {path}"):
            slices = load_nifti(path).pixels
            if len(slices) > 1:
                raise ValueError(f"it has {len(slices)} slices: data=masks3d reads volumes")
            return slices
    return read_image(path, None, most_pixels).pixels


def _array(path: Path) -> NDArray[Any]:
    """The array of a .npy file, or the one of an .npz file that is alone or called mask."""
    check_members(path)
    content = np.load(path, allow_pickle=False)
    if zipfile.is_zipfile(path):
        names = content.files
        name = names[0] if len(names) == 1 else "mask"
        if name not in names:
            raise ValueError(f"it has the arrays {', '.join(names)}, and none is called mask")
        content = content[name]
    if content.ndim != 2:
        raise ValueError(f"expected a mask (H, W), got shape {content.shape}")
    return np.asarray(content)


def _coded(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """One number a pixel: its grey value, or its colour's, grey ones among them."""
    whole = pixels.astype(np.int64)
    if (whole != pixels).any():
        raise ValueError("the mask has values that are no whole numbers")
    if len(whole) == 1:
        return np.asarray(whole[0])
    red, green, blue = whole
    colour = (red << 16 | green << 8 | blue) + COLOURS
    return np.asarray(np.where((whole == red).all(axis=0), red, colour))


def _code(value: Value) -> int:
    if isinstance(value, int):
        return value
    red, green, blue = value
    return red if red == green == blue else (red << 16 | green << 8 | blue) + COLOURS


def _named(code: int) -> str:
    if code < COLOURS:
        return str(code)
    return str([int(code) >> shift & 255 for shift in (16, 8, 0)])


def meaning_of(regions: Mapping[str, Any] | None) -> tuple[Meaning, tuple[str, ...]]:
    """What `data.regions` says: values by region, and the regions' names with the background's.

    Raises:
        DataError: if a value is neither a whole number nor a colour, or stands for two regions.
    """
    if regions is None:
        return Meaning(), ("background", "foreground")
    values: list[Value] = []
    for name, value in regions.items():
        colour = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3
        parts = list(value) if colour else [value]
        if not all(isinstance(part, int) and not isinstance(part, bool) for part in parts):
            raise DataError(
                f"data.regions: {name} must have a whole number or a colour [red, green, blue], "
                f"got {value!r}."
            )
        values.append((parts[0], parts[1], parts[2]) if colour else parts[0])
    names = [str(name) for name in regions]
    if not values or len({_code(value) for value in values}) < len(values):
        raise DataError(f"data.regions must have a value of its own for each, got {dict(regions)}.")
    if 0 in map(_code, values):
        raise DataError("data.regions: 0 is the background, and is not listed.")
    return Meaning(tuple(values)), ("background", *names)
