"""Figures as files, the same bytes for the same figure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

KINDS = ("png", "pdf", "svg")
# what would change with the day that a figure is written on
_UNDATED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def content(figure: Figure, kind: str, dpi: int = 120) -> bytes:
    """The figure as a file of one of `KINDS`; it is laid out once, and stays so."""
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "ttl_lightning"}):
        figure.savefig(picture, format=kind, dpi=dpi, metadata=_UNDATED[kind])
    figure.set_layout_engine("none")  # laying out takes half of the time, and each kind took it
    return picture.getvalue()


def png(figure: Figure, dpi: int = 120) -> bytes:
    """The figure as a PNG file."""
    return content(figure, "png", dpi)


def files(
    figures: Mapping[str, Figure], kinds: Sequence[str] = KINDS, dpi: int = 120
) -> Iterator[tuple[str, str, bytes]]:
    """Name, kind and content of each figure's files."""
    for name, figure in figures.items():
        for kind in kinds:
            yield name, kind, content(figure, kind, dpi)
