"""data=phantom3d: chest-like volumes with emboli in vessels, which the package draws itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.phantoms.images import label_of
from ttl_lightning.data.phantoms.volumes import SMALLEST, PhantomVolume, draw_volume
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.samples import SPLITS, Integers, Samples
from ttl_lightning.data.sources.phantom import MOST, DrawnSource
from ttl_lightning.data.window_options import AbnormalView
from ttl_lightning.errors import check_number


@dataclass(frozen=True)
class PhantomStudies:
    """Volumes of one seed's series by row, drawn when they are read.

    Attributes:
        numbers: of the volumes in the series.
        shape: slices, rows and columns.
        difficulty: 0 (plain to see) to 1 (barely there).
        balance: fraction of positives.
        seed: of the series.
    """

    decoders: ClassVar[int] = 1

    numbers: Integers
    shape: tuple[int, int, int]
    difficulty: float
    balance: float
    seed: int
    _abnormal: dict[int, Integers] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.numbers)

    def read(self, row: int) -> Reading:
        """Draw one volume, and remember which of its slices are abnormal."""
        drawn = self._draw(row)
        self._abnormal[row] = np.flatnonzero(drawn.lesion_mask.any((1, 2))).astype(np.int64)
        return Reading(drawn.voxels)

    def abnormal_slices(self, row: int, count: int) -> Integers:
        """Slices of a volume that hold a part of an embolus."""
        if row not in self._abnormal:
            self.read(row)
        return self._abnormal[row]

    def lesion_mask(self, row: int) -> NDArray[np.bool_]:
        """Where one volume's emboli are, (slices, rows, columns)."""
        return self._draw(row).lesion_mask

    def _draw(self, row: int) -> PhantomVolume:
        number = int(self.numbers[row])
        return draw_volume(number, self.shape, self.difficulty, self.seed, balance=self.balance)

    def fingerprint(self, row: int) -> str:
        """All that a volume depends on."""
        options = (self.shape, self.difficulty, self.balance, self.seed)
        return f"phantom3d|{self.numbers[row]}|{options}"


class LesionMasks:
    """Where the emboli of drawn volumes are, by the same rows."""

    decoders = 1

    def __init__(self, drawn: PhantomStudies) -> None:
        self._drawn = drawn

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self._drawn)

    def read(self, row: int) -> Reading:
        """Draw one volume's mask."""
        return Reading(self._drawn.lesion_mask(row).astype(np.uint8))

    def fingerprint(self, row: int) -> str:
        """All that a mask depends on."""
        return f"lesions|{self._drawn.fingerprint(row)}"


@dataclass(frozen=True, kw_only=True)
class Phantom3dSource(DrawnSource):
    """Drawn volumes of one seed, whose masks are emboli.

    Attributes:
        num_slices: of each study.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    view = AbnormalView
    defaults: ClassVar[Mapping[str, Any]] = {"image_size": (16, 48, 48), "window_stride": 8}

    name: str = "phantom3d"
    train_size: int = 160
    val_size: int = 60
    test_size: int = 60
    difficulty: float = 0.3
    num_slices: int = 24

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_number("data.num_slices", self.num_slices, SMALLEST[0], 4096, integer=True)

    def load(self, side: int) -> Samples:
        """Say which volumes of the series there are; they are drawn at the size they are kept."""
        numbers = np.concatenate(
            [SPLITS.index(split) * MOST + np.arange(n) for split, n in self.sizes.items()]
        )
        shape = (self.num_slices, side, side)
        drawn = PhantomStudies(numbers, shape, self.difficulty, self.balance, self.seed)
        return Samples(
            ids=self.ids,
            labels=label_of(numbers, self.balance),
            splits=self.splits,
            class_names=("normal", "embolism"),
            reader=drawn,
            abnormal=drawn.abnormal_slices,
            masks=LesionMasks(drawn),
            regions=("background", "embolism"),
        )
