"""Whether pixels fill the range from black to white that the network will see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.errors import DataError

DIM = 0.1
"""Images that fill less than this part of their range are nearly one grey."""
OUTSIDE = 0.02
"""Studies that fill less than this part of the window are in other units than the window is."""


def spread_notes(spreads: NDArray[np.float64], counted: str) -> list[str]:
    """What a run says where most images are nearly one grey.

    Args:
        spreads: of the images that are used, the part of their type's range that each fills, but
            for its darkest and brightest pixels.
        counted: what an image is called.
    """
    dim = spreads[spreads < DIM]
    if not len(dim) or len(dim) * 2 < len(spreads):
        return []
    return [
        f"{len(dim)} of {len(spreads)} {counted} fill less than {DIM:.0%} of the range from black "
        f"to white, the middle one {np.median(dim):.1%}: are they 12 bits in 16, or CT without a "
        "window? Scale them before, or the network sees hardly any contrast."
    ]


def window_notes(
    lows: NDArray[np.float64], highs: NDArray[np.float64], window: tuple[float, float]
) -> list[str]:
    """What a run says of studies that hardly reach into the window of grey values.

    Args:
        lows: the lowest value of each study.
        highs: the highest.
        window: values of black and white.

    Raises:
        DataError: naming the range seen, if that is so of all studies.
    """
    black, white = sorted(window)
    reach = np.minimum(highs, white) - np.maximum(lows, black)
    outside = int((reach < OUTSIDE * (white - black)).sum())
    if not outside:
        return []
    seen = f"values from {lows.min():g} to {highs.max():g}"
    if outside == len(lows):
        raise DataError(
            f"the studies hold {seen}, which fill {max(reach.max(), 0) / (white - black):.1%} of "
            f"data.hu_window=[{window[0]:g}, {window[1]:g}]: give the window in their own units, "
            "or null for each study's own range."
        )
    return [
        f"{outside} of {len(lows)} studies fill less than {OUTSIDE:.0%} of data.hu_window="
        f"[{window[0]:g}, {window[1]:g}]; all of them together hold {seen}."
    ]
