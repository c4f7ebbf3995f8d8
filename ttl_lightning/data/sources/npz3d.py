"""data=npz3d: volumes in one .npz file in MedMNIST's layout, {train,val,test}_{images,labels}."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ttl_lightning.data.content import file_hash
from ttl_lightning.data.image_module import existing_path
from ttl_lightning.data.module import SharedOptions
from ttl_lightning.data.readers.volume import UNKNOWN_MM, Volume
from ttl_lightning.data.samples import Samples, listed
from ttl_lightning.data.sources.npz import NO_PATIENTS, load_arrays
from ttl_lightning.data.store import pixel_hash
from ttl_lightning.data.volume_module import VolumeDataModule
from ttl_lightning.errors import ConfigError


class ArrayVolumeOptions(SharedOptions, total=False):
    """Options of every source of volumes in one array; a subclass hands them on unread."""

    resample_depth: bool
    image_size: Sequence[int]
    window_stride: int | None
    windows_per_study: int | None
    hu_window: Sequence[float] | None
    cache: str


class ArrayVolumeDataModule(VolumeDataModule):
    """Base of the sources of volumes (N, D, H, W) uint8 in one array; each is one study.

    Args:
        resample_depth: the network sees the whole depth, resampled to the slices of `image_size`;
            else windows of slices as they are stored.
        image_size: slices, height and width of the network's input.
        window_stride: as `VolumeDataModule` says; only for windows of slices.
        hu_window: values of black and white; None takes each volume's own percentiles.

    Raises:
        ConfigError: if `window_stride` goes with `resample_depth`.
    """

    def __init__(
        self,
        *,
        name: str,
        on_duplicate: str = "drop",
        resample_depth: bool = True,
        image_size: Sequence[int] = (32, 32, 32),
        window_stride: int | None = None,
        windows_per_study: int | None = None,
        hu_window: Sequence[float] | None = (0, 255),
        cache: str = "memory",
        **shared: Unpack[SharedOptions],
    ) -> None:
        if not isinstance(resample_depth, bool):
            raise ConfigError(f"data.resample_depth must be true or false, got {resample_depth!r}.")
        super().__init__(
            name=name,
            on_duplicate=on_duplicate,
            image_size=image_size,
            window_stride=window_stride,
            windows_per_study=windows_per_study,
            min_abnormal_slices=1,  # unused: the layout does not say which slices are abnormal
            hu_window=hu_window,
            cache=cache,
            **shared,
        )
        if resample_depth and window_stride is not None:
            raise ConfigError(
                f"data.window_stride={window_stride} needs data.resample_depth=false: with true, "
                "the whole volume is one window."
            )
        self.resample_depth = resample_depth

    @abstractmethod
    def arrays(self) -> tuple[Samples, NDArray[np.uint8], str]:
        """Samples, their volumes (N, D, H, W), and a note on their splits.

        Raises:
            DataError: naming the file and what is wrong with it.
        """

    def load(self) -> tuple[Samples, ArrayVolumes]:
        """Take the arrays, and say which volumes are blank.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        samples, volumes, note = self.arrays()
        self.notes.append(note)
        flat = volumes.reshape(len(volumes), -1)
        blank = np.flatnonzero(flat.min(1) == flat.max(1))
        if len(blank):
            names = listed([samples.ids[row] for row in blank])
            self.notes.append(f"{len(blank)} volumes hold one value alone: {names}.")
        return samples, ArrayVolumes(volumes, self.image_size[0] if self.resample_depth else None)


class Npz3dDataModule(ArrayVolumeDataModule):
    """Volumes (N, D, H, W) uint8 with the splits that the file gives; each is one study.

    Labels are as data=npz takes them.

    Args:
        path: the file.
        classes: names by class number; by default "0", "1", …

    Raises:
        ConfigError: if no path is given.
        DataError: if there is no such file.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(
        self,
        *,
        name: str = "npz3d",
        on_duplicate: str = "drop",
        path: str | Path | None = None,
        classes: Sequence[str] | None = None,
        **options: Unpack[ArrayVolumeOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **options)
        self.path, self.classes = existing_path(path), classes

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Of the file's bytes."""
        return {"file": file_hash(existing_path(options["path"]))}

    def arrays(self) -> tuple[Samples, NDArray[np.uint8], str]:
        """Read the file."""
        return *load_arrays(self.path, "npz3d", self.classes), NO_PATIENTS


class ArrayVolumes:
    """Volumes held in memory.

    Args:
        volumes: (N, D, H, W) uint8.
        slices: that the depth is resampled to; None leaves it alone.
    """

    def __init__(self, volumes: NDArray[np.uint8], slices: int | None = None) -> None:
        self._volumes, self._slices = volumes, slices

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self._volumes)

    def read(self, row: int) -> Volume:
        """One volume; the file does not say how large a voxel is."""
        voxels: NDArray[Any] = self._volumes[row]
        if self._slices is not None:
            voxels = fit_depth(voxels, self._slices)
        return Volume(voxels.astype(np.int16), UNKNOWN_MM)

    def fingerprint(self, row: int) -> str:
        """Hash of the voxels, with the depth that they are resampled to."""
        return f"{pixel_hash(self._volumes[row])}|{self._slices}"


def fit_depth(voxels: NDArray[np.uint8], slices: int) -> NDArray[np.uint8]:
    """(D, H, W) resampled to (slices, H, W) linearly, antialiased, as `fit_square` does planes."""
    depth, height, width = voxels.shape
    if depth == slices:
        return voxels
    columns = torch.from_numpy(voxels.astype(np.float32)).reshape(1, 1, depth, height * width)
    resized = functional.interpolate(
        columns, size=(slices, height * width), mode="bilinear", antialias=True
    )
    fitted: NDArray[np.uint8] = np.rint(resized.numpy()).clip(0, 255).astype(np.uint8)
    return fitted.reshape(slices, height, width)
