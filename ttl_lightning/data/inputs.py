"""Images and studies of which nothing is known but where they lie, in the order of their names."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import pixel_hash
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.picture import FileImages, is_image
from ttl_lightning.data.readers.reading import Reading, to_storage
from ttl_lightning.data.readers.studies import StudyFiles, find_studies
from ttl_lightning.data.sources.folder import NO_DATA, printable
from ttl_lightning.data.tables.text import read_table
from ttl_lightning.errors import DataError

STDIN = "-"
COLUMNS = ("path", "image", "study")
"""Of a table, the first of these that it has says where things lie."""


class Inputs(NamedTuple):
    """Names, each once, and the files or folders that they stand for."""

    ids: tuple[str, ...]
    paths: list[Path]

    def part(self, start: int, stop: int) -> Inputs:
        """Those from a place to another."""
        return Inputs(self.ids[start:stop], self.paths[start:stop])


class GivenArrays:
    """Images or volumes that lie in memory, of any sizes.

    Args:
        arrays: images (H, W) or (H, W, 3) of uint8 or uint16; volumes (S, H, W) of numbers.
        volumes: which of the two they are.
    """

    decoders = 1

    def __init__(self, arrays: Sequence[NDArray[Any]], *, volumes: bool) -> None:
        self._arrays, self._volumes = arrays, volumes

    def __len__(self) -> int:
        """Number of images or volumes."""
        return len(self._arrays)

    def read(self, row: int) -> Reading:
        """All there is of it.

        Raises:
            DataError: if it is no such array.
        """
        array = np.asarray(self._arrays[row])
        if self._volumes:
            if array.ndim != 3 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
                raise DataError(
                    f"array {row}: expected a volume (S, H, W) of finite numbers, got "
                    f"{array.dtype} {array.shape}."
                )
            return Reading(array.astype(np.float32 if array.dtype.kind == "f" else np.int16))
        if array.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"array {row}: expected an image (H, W) or (H, W, 3) of uint8 or uint16, got "
                f"{array.dtype} {array.shape}."
            )
        try:
            return Reading(to_storage(array, 0, float(np.iinfo(array.dtype).max)))
        except ValueError as error:
            raise DataError(f"array {row}: {error}.") from error

    def fingerprint(self, row: int) -> str:
        """A hash of its values."""
        return pixel_hash(np.asarray(self._arrays[row]))


class BlankMasks:
    """Masks that say nothing, of the images' sizes, for what reads images with masks.

    Args:
        reader: of the images or studies.
        layers: of a mask, as of the run's own; None for studies.
    """

    def __init__(self, reader: Reader, layers: int | None) -> None:
        self._reader, self._layers = reader, layers
        self._shapes: dict[int, tuple[tuple[int, ...], tuple[float, float, float]]] = {}

    @property
    def decoders(self) -> int:
        """As of the images."""
        return self._reader.decoders

    def __len__(self) -> int:
        """Number of images."""
        return len(self._reader)

    def read(self, row: int) -> Reading:
        """(layers, H, W), or (S, H, W)."""
        if row not in self._shapes:
            found = self._reader.read(row)
            shape = found.pixels.shape
            shape = shape if self._layers is None else (self._layers, *shape[1:])
            self._shapes[row] = shape, found.spacing_mm
        shape, spacing = self._shapes[row]
        return Reading(np.zeros(shape, np.uint8), spacing_mm=spacing)

    def fingerprint(self, row: int) -> str:
        """As of the image."""
        return f"blank|{self._reader.fingerprint(row)}"


def find_inputs(given: Sequence[str], lines: Iterable[str] = (), *, volumes: bool) -> Inputs:
    """What is meant by files, folders, patterns, tables, or "-" for a list of them.

    A folder stands for all images below it, or for all studies; one that is a DICOM series is one
    study. A .csv file lists them, seen from its folder. Names are those of the folder or table;
    where these would be ambiguous, they are the whole paths.

    Args:
        given: each one of these.
        lines: of "-", one file or folder each.
        volumes: whether studies are meant, and not images.

    Raises:
        DataError: if nothing is found, or a file is missing.
    """
    named: list[tuple[str, Path]] = []
    for text in given:
        if text == STDIN:
            paths = [Path(line.strip()) for line in lines if line.strip()]
            named += [(str(path), path) for path in paths]
        elif any(sign in text for sign in "*?[") and not Path(text).exists():
            found = sorted(Path(path) for path in glob.glob(text, recursive=True))  # noqa: PTH207
            found = [path for path in found if volumes or is_image(path)]
            if not found:
                raise DataError(f"input={text}: no file is so named (seen from {Path.cwd()}).")
            root = _plain_part(text)
            named += [(path.relative_to(root).as_posix(), path) for path in found]
        else:
            named += _below(Path(text).expanduser(), volumes=volumes)
    if not named:
        raise DataError("input: there is nothing to predict.")
    if len({name for name, _ in named}) < len(named):
        named = list({str(path): path for _, path in named}.items())
    return Inputs(tuple(printable(name) for name, _ in named), [path for _, path in named])


def _plain_part(pattern: str) -> Path:
    """The folders of a pattern before the first that has a sign."""
    parts = Path(pattern).parts
    plain = next(n for n, part in enumerate(parts) if any(sign in part for sign in "*?["))
    return Path(*parts[:plain])


def _below(path: Path, *, volumes: bool) -> list[tuple[str, Path]]:
    if not path.exists():
        raise DataError(f"input: no such file or folder: {path} (seen from {Path.cwd()}).")
    if path.is_dir():
        if volumes:
            return list(find_studies(path).items())
        found = [file for file in sorted(path.rglob("*")) if _meant(file, path)]
        if not found:
            raise DataError(f"input: there are no images below {path}.")
        return [(file.relative_to(path).as_posix(), file) for file in found]
    if path.suffix.lower() in (".csv", ".tsv"):
        table = read_table(path)
        column = next((name for name in COLUMNS if name in table.columns), None)
        if column is None:
            raise DataError(f"{path} has none of the columns {', '.join(COLUMNS)}.")
        return [(name, path.parent / name) for name in table.filled(column)]
    return [(str(path), path)]


def _meant(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    hidden = any(part.startswith(".") or part in NO_DATA for part in parts)
    return not hidden and file.is_file() and is_image(file)


def reader_of(paths: list[Path], *, volumes: bool) -> Reader:
    """Of files of images, or of studies."""
    return StudyFiles(paths) if volumes else FileImages(paths)
