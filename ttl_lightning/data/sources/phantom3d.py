"""data=phantom3d: chest-like volumes with emboli in vessels, which the package draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from ttl_lightning.data.phantoms.images import label_of
from ttl_lightning.data.phantoms.volumes import SMALLEST, PhantomVolume, draw_volume
from ttl_lightning.data.readers.volume import UNKNOWN_MM, Volume
from ttl_lightning.data.samples import SPLITS, Samples
from ttl_lightning.data.sources.phantom import MOST
from ttl_lightning.data.views.windows import Integers
from ttl_lightning.data.volume_module import VolumeDataModule, WindowOptions
from ttl_lightning.errors import check_number


class PhantomStudies:
    """Volumes of one seed's series by row, drawn when they are read.

    Args:
        numbers: of the volumes in the series.
        shape: slices, rows and columns.
        difficulty: 0 (plain to see) to 1 (barely there).
        balance: fraction of positives.
        seed: of the series.
    """

    def __init__(
        self,
        numbers: Integers,
        shape: tuple[int, int, int],
        difficulty: float,
        balance: float,
        seed: int,
    ) -> None:
        self._numbers, self._shape, self._seed = numbers, shape, seed
        self._difficulty, self._balance = difficulty, balance
        self._abnormal: dict[int, Integers] = {}

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self._numbers)

    def read(self, row: int) -> Volume:
        """Draw one volume, and remember which of its slices are abnormal."""
        drawn = self._draw(row)
        self._abnormal[row] = np.flatnonzero(drawn.lesion_mask.any((1, 2))).astype(np.int64)
        return Volume(drawn.voxels, UNKNOWN_MM)

    def abnormal_slices(self, row: int) -> Integers:
        """Slices of a volume that hold a part of an embolus."""
        if row not in self._abnormal:
            self.read(row)
        return self._abnormal[row]

    def lesion_mask(self, row: int) -> NDArray[np.bool_]:
        """Where one volume's emboli are, (slices, rows, columns)."""
        return self._draw(row).lesion_mask

    def _draw(self, row: int) -> PhantomVolume:
        number = int(self._numbers[row])
        return draw_volume(number, self._shape, self._difficulty, self._seed, balance=self._balance)

    def fingerprint(self, row: int) -> str:
        """All that a volume depends on."""
        options = (self._shape, self._difficulty, self._balance, self._seed)
        return f"phantom3d|{self._numbers[row]}|{options}"


class Phantom3dDataModule(VolumeDataModule):
    """Drawn volumes of one seed; the same volume never comes twice.

    Args:
        train_size: number of training studies.
        val_size: number of validation studies.
        test_size: number of test studies.
        num_slices: of each study.
        difficulty: 0 (plain to see) to 1 (barely there).
        balance: fraction of positives.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    def __init__(
        self,
        *,
        name: str = "phantom3d",
        on_duplicate: str = "raise",
        train_size: int = 160,
        val_size: int = 60,
        test_size: int = 60,
        num_slices: int = 24,
        difficulty: float = 0.3,
        balance: float = 0.5,
        image_size: Sequence[int] = (16, 48, 48),
        window_stride: int | None = 8,
        cache: str = "memory",
        **common: Unpack[WindowOptions],
    ) -> None:
        super().__init__(
            name=name,
            on_duplicate=on_duplicate,
            image_size=image_size,
            window_stride=window_stride,
            cache=cache,
            **common,
        )
        self._sizes = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self._sizes.items():
            check_number(f"data.{split}_size", size, 1, MOST, integer=True)
        check_number("data.num_slices", num_slices, SMALLEST[0], 4096, integer=True)
        check_number("data.difficulty", difficulty, 0, 1)
        check_number("data.balance", balance, 0, 1)
        self.num_slices, self.difficulty, self.balance = num_slices, difficulty, balance
        self._drawn: PhantomStudies | None = None

    def load(self) -> tuple[Samples, PhantomStudies]:
        """Say which volumes of the series there are; they are drawn at the size they are kept."""
        size = self.augment.stored_size(self.image_size[1])
        numbers = np.concatenate(
            [SPLITS.index(split) * MOST + np.arange(n) for split, n in self._sizes.items()]
        )
        samples = Samples(
            ids=tuple(f"{split}/{i}" for split, n in self._sizes.items() for i in range(n)),
            labels=label_of(numbers, self.balance),
            splits=np.repeat(list(self._sizes), list(self._sizes.values())),
            class_names=("normal", "embolism"),
            task="binary",
        )
        shape = (self.num_slices, size, size)
        drawn = PhantomStudies(numbers, shape, self.difficulty, self.balance, self.seed)
        self._drawn = drawn
        return samples, drawn

    def abnormal_slices(self, row: int, count: int) -> Integers | None:
        """Slices that hold a part of an embolus."""
        assert self._drawn is not None  # by load()
        return self._drawn.abnormal_slices(row)

    def lesion_masks(self, split: str) -> NDArray[np.bool_]:
        """Emboli (n, num_slices, height, width) of a split's studies as evaluation sees them."""
        assert self._drawn is not None  # by load()
        rows = self._ready().rows(split)
        whole = np.stack([self._drawn.lesion_mask(int(row)) for row in rows])
        masks = torch.from_numpy(whole.astype(np.float32))
        seen: NDArray[np.bool_] = self.evaluation.read(masks).numpy() > 0.5
        return seen
