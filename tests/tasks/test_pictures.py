"""Figures as files: of the kind that their name says, and the same each time."""

from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ttl_lightning.tasks.pictures import KINDS, content, files


def drawn() -> Figure:
    figure = Figure(figsize=(2, 1.5))
    figure.subplots().plot([0, 1], [1, 0], label="a line")
    return figure


BEGINS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_what_it_says_and_the_same_each_time(kind: str) -> None:
    first, second = content(drawn(), kind), content(drawn(), kind)
    assert first.startswith(BEGINS[kind])
    assert first == second


def test_the_size_of_a_png_is_that_of_the_figure() -> None:
    assert Image.open(io.BytesIO(content(drawn(), "png", dpi=100))).size == (200, 150)


def test_every_figure_is_written_as_every_kind() -> None:
    found = [(name, kind) for name, kind, _ in files({"a": drawn(), "b": drawn()})]
    assert found == [(name, kind) for name in ("a", "b") for kind in KINDS]
