"""data=npz and data=npz3d: one .npz file in MedMNIST's layout, {train,val,test}_{images,labels}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import file_hash, file_mark
from ttl_lightning.data.readers.base import ArrayImages, ArrayVolumes
from ttl_lightning.data.readers.npz_members import check_members, source_of
from ttl_lightning.data.readers.volume import about, naming
from ttl_lightning.data.samples import SPLITS, Labels, Samples, check_classes, listed
from ttl_lightning.data.sources.base import Source, existing_path
from ttl_lightning.data.window_options import DepthView
from ttl_lightning.errors import DataError

KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
SHAPES = {"npz": "(N, H, W) or (N, H, W, 3)", "npz3d": "(N, D, H, W)"}
"""Shapes of the images, by the source that takes them."""

MOST_CLASSES = 100_000
NO_PATIENTS = "npz files hold no patient ids: splits are taken as the file gives them."


@dataclass(frozen=True, kw_only=True)
class NpzSource(Source):
    """Images (N, H, W) or (N, H, W, 3) uint8 with the splits that the file gives.

    Labels (N,) or (N, 1) are class numbers; of labels (N, L) of zeros and ones several may hold.

    A file of volumes is for `Npz3dSource`; the command line chooses between the two.

    Attributes:
        path: the file.
        classes: names by class number; by default "0", "1", …

    Raises:
        ConfigError: if no path is given.
        DataError: if there is no such file.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"on_duplicate": "drop"}
    places: ClassVar[tuple[str, ...]] = ("path",)
    layout: ClassVar[str] = "npz"

    name: str = "npz"
    path: str | Path | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        existing_path(self.path)

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the file's bytes."""
        return {"file": file_hash(existing_path(options["path"]))}

    def load(self, side: int) -> Samples:
        """Read the file.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        return load_file(existing_path(self.path), self.layout, self.classes, NO_PATIENTS)


@dataclass(frozen=True, kw_only=True)
class Npz3dSource(NpzSource):
    """Volumes (N, D, H, W) uint8 with the splits that the file gives; each is one study.

    Labels are as `NpzSource` takes them.
    """

    view = DepthView
    layout: ClassVar[str] = "npz3d"

    name: str = "npz3d"


def load_file(path: Path, layout: str, classes: Sequence[str] | None, note: str) -> Samples:
    """Samples of a file in MedMNIST's layout; it is said which volumes are blank.

    Args:
        path: the file.
        layout: one of `SHAPES`, which the images must have.
        classes: names by class number; None: "0", "1", …
        note: on the file's splits.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    arrays = _read(path)
    labels = {split: _flat(path, split, arrays[f"{split}_labels"]) for split in SPLITS}
    images = {split: _checked(path, layout, split, arrays[f"{split}_images"]) for split in SPLITS}
    for split in SPLITS:
        if len(labels[split]) != len(images[split]):
            raise DataError(
                f"{path}: {len(images[split])} {split}_images, {len(labels[split])} {split}_labels."
            )
    if len({array.shape[1:] for array in images.values()}) > 1:
        shapes = ", ".join(f"{split} {array.shape[1:]}" for split, array in images.items())
        raise DataError(f"{path}: images differ in shape between splits: {shapes}.")
    if len({array.shape[1:] for array in labels.values()}) > 1:
        raise DataError(f"{path}: labels differ in shape between splits.")
    every = np.concatenate(list(labels.values()))
    with about(path):
        names = _class_names(every, classes)
    ids = tuple(f"{split}/{i}" for split in SPLITS for i in range(len(labels[split])))
    pixels, notes = np.concatenate(list(images.values())), [note]
    if layout == "npz3d":
        flat = pixels.reshape(len(pixels), -1)
        blank = [ids[row] for row in np.flatnonzero(flat.min(1) == flat.max(1))]
        if blank:
            notes.append(f"{len(blank)} volumes hold one value alone: {listed(blank)}.")
    reader = {"npz": ArrayImages, "npz3d": ArrayVolumes}[layout]
    return Samples(
        ids=ids,
        labels=every,
        splits=np.repeat(SPLITS, [len(labels[split]) for split in SPLITS]),
        class_names=names,
        reader=reader(pixels, file_mark(path)),
        notes=tuple(notes),
    )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with naming(f"{path} as an .npz file"):
        check_members(path, KEYS)
        # NumPy leaves a damaged archive open unless it is given an open file
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file]
            if missing:
                raise DataError(
                    f"{path}: no {', '.join(missing)}; it must hold {', '.join(KEYS)}, "
                    f"and holds {', '.join(file) or 'nothing'}."
                )
            return {key: file[key] for key in KEYS}


def _flat(path: Path, split: str, labels: NDArray[Any]) -> Labels:
    if labels.dtype.kind not in "buif" or labels.ndim not in (1, 2):
        raise DataError(
            f"{path}: {split}_labels must be numbers of shape (N,) or (N, L), "
            f"got {labels.dtype} {labels.shape}."
        )
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.astype(np.float32)
    flat = labels.reshape(-1)
    if not np.isfinite(flat).all() or (flat != np.floor(flat)).any():
        raise DataError(f"{path}: {split}_labels must be whole numbers.")
    if len(flat) and (flat.min() < -MOST_CLASSES or flat.max() > MOST_CLASSES):
        far = flat.min() if flat.min() < -MOST_CLASSES else flat.max()
        raise DataError(f"{path}: {split}_labels must be class numbers from 0, got {far:g}.")
    return flat.astype(np.int64)


def _checked(path: Path, layout: str, split: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    taken_by = source_of(images.shape)
    if images.dtype != np.uint8 or taken_by != layout or 0 in images.shape[1:]:
        other = f" Choose data={taken_by}." if taken_by not in (None, layout) else ""
        raise DataError(
            f"{path}: {split}_images must be uint8 of shape {SHAPES[layout]}, "
            f"got {images.dtype} {images.shape}.{other}"
        )
    return images


def _class_names(labels: Labels, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is not None:
        names = tuple(str(name) for name in classes)
    elif labels.ndim == 2:
        names = tuple(str(i) for i in range(labels.shape[1]))
    else:
        count = int(labels.max(initial=0)) + 1
        if count > len(labels):  # then most classes have no sample, and tables by class no end
            raise DataError(
                f"labels run to {count - 1}, and there are {len(labels)} samples: class numbers "
                "count from 0 without gaps."
            )
        names = tuple(str(i) for i in range(count))
    check_classes(names)
    return names
