"""Options of `data` that say how volumes are seen by windows of their slices. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.data.options import View, ascending_pair, items_of
from ttl_lightning.errors import ConfigError, check_number


@dataclass(frozen=True, kw_only=True)
class WindowView(View):
    """Windows of the slices of studies, of which it is not asked which are abnormal.

    Attributes:
        image_size: slices, height and width of the network's input; height and width are equal.
        window_stride: slices from one window to the next; by default the window's length.
        windows_per_study: training windows a study and epoch; by default each of the grid once.
        hu_window: values of black and white; None takes each study's 0.5th and 99.5th percentile.
    """

    counted: ClassVar[str] = "studies"

    image_size: Sequence[int] = (24, 192, 192)
    window_stride: int | None = None
    windows_per_study: int | None = None
    hu_window: Sequence[float] | None = (-100, 900)

    def __post_init__(self) -> None:
        """Check what was given."""
        size = _volume_size(self.image_size)
        object.__setattr__(self, "image_size", size)
        if self.window_stride is not None:
            check_number("data.window_stride", self.window_stride, 1, size[0], integer=True)
        if self.windows_per_study is not None:
            check_number("data.windows_per_study", self.windows_per_study, 1, 65536, integer=True)
        if self.hu_window is not None:
            object.__setattr__(self, "hu_window", _hu_window(self.hu_window))
        super().__post_init__()

    @property
    def side(self) -> int:
        """Height and width of the network's input."""
        return self.image_size[1]

    @property
    def patch(self) -> int:
        """Height and width of what training shows."""
        return self.side

    @property
    def window(self) -> tuple[int, ...]:
        """Spatial size of what the network sees at once of a volume."""
        return tuple(self.image_size)

    @property
    def stride(self) -> int:
        """Slices from one window of the grid to the next."""
        return self.window_stride or self.image_size[0]

    @property
    def black_and_white(self) -> tuple[float, float] | None:
        """`hu_window`, as a pair."""
        return None if self.hu_window is None else (self.hu_window[0], self.hu_window[1])

    @property
    def least_abnormal(self) -> int:
        """Abnormal slices that make a window positive."""
        return 1

    @property
    def about_abnormal(self) -> float:
        """Probability that a training window lies about an abnormal slice."""
        return 0.0

    @property
    def about_marked(self) -> float:
        """Probability that a training window lies about a slice in which the mask marks anything.

        Source: nnU-Net (Isensee et al., Nature Methods 18, 2021), which draws a third so or more.
        """
        return 0.5

    @property
    def depth(self) -> int | None:
        """Slices that the depth of each volume is resampled to; None leaves it alone."""
        return None


@dataclass(frozen=True, kw_only=True)
class AbnormalView(WindowView):
    """Windows of studies of which it may be known which slices are abnormal.

    Attributes:
        min_abnormal_slices: abnormal slices that make a window positive, where the source knows
            which slices are abnormal.
        abnormal_fraction: probability that a training window lies about an abnormal slice of its
            study, if it has any; by default windows are taken as they come.
    """

    min_abnormal_slices: int = 4
    abnormal_fraction: float | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        most = self.image_size[0]
        check_number("data.min_abnormal_slices", self.min_abnormal_slices, 1, most, integer=True)
        if self.abnormal_fraction is not None:
            check_number("data.abnormal_fraction", self.abnormal_fraction, 0, 1)

    @property
    def least_abnormal(self) -> int:
        """Abnormal slices that make a window positive."""
        return self.min_abnormal_slices

    @property
    def about_abnormal(self) -> float:
        """Probability that a training window lies about an abnormal slice."""
        return self.abnormal_fraction or 0.0


@dataclass(frozen=True, kw_only=True)
class DepthView(WindowView):
    """Small volumes, seen whole or by windows.

    Attributes:
        resample_depth: the network sees the whole depth, resampled to the slices of `image_size`;
            else windows of slices as they are stored, which alone have a `window_stride`.
    """

    image_size: Sequence[int] = (32, 32, 32)
    hu_window: Sequence[float] | None = (0, 255)
    resample_depth: bool = True

    def __post_init__(self) -> None:
        """Check what was given."""
        if not isinstance(self.resample_depth, bool):
            raise ConfigError(
                f"data.resample_depth must be true or false, got {self.resample_depth!r}."
            )
        super().__post_init__()
        if self.resample_depth and self.window_stride is not None:
            raise ConfigError(
                f"data.window_stride={self.window_stride} needs data.resample_depth=false: with "
                "true, the whole volume is one window."
            )

    @property
    def depth(self) -> int | None:
        """Slices that the depth of each volume is resampled to; None leaves it alone."""
        return self.image_size[0] if self.resample_depth else None


def _volume_size(value: Sequence[int]) -> tuple[int, int, int]:
    """Slices, height and width.

    Raises:
        ConfigError: naming the key.
    """
    size = items_of(value)
    if len(size) != 3 or size[1] != size[2]:
        raise ConfigError(
            f"data.image_size must be [slices, height, width] with equal height and width, "
            f"got {value!r}."
        )
    check_number("data.image_size", size[0], 1, 4096, integer=True)
    check_number("data.image_size", size[1], 8, 4096, integer=True)
    return (size[0], size[1], size[2])


def _hu_window(value: Sequence[float]) -> tuple[float, float]:
    """Values of black and white.

    Raises:
        ConfigError: naming the key.
    """
    low, high = ascending_pair("data.hu_window", value, -1e6, 1e6)
    if low == high:
        raise ConfigError(f"data.hu_window must be two different numbers, got {value!r}.")
    return low, high
