from __future__ import annotations

import itertools

import numpy as np
import pytest

from ttl_lightning.interpret.commands.figures import curves, matrices

UNITS = [f"block1.{number}" for number in range(1, 19)]


def test_a_dashed_line_has_the_color_of_the_one_it_goes_with() -> None:
    values = [0.5] * 18
    figure = curves(UNITS, {"a": values, "b": values}, "AUROC", dashed={"c": values, "d": values})
    a, b, c, d = figure.axes[0].get_lines()
    assert (a.get_color(), b.get_color()) == (c.get_color(), d.get_color())
    assert a.get_color() != b.get_color()
    assert [line.get_linestyle() for line in (a, b, c, d)] == ["-", "-", "--", "--"]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 8, 9, 18])
def test_names_of_units_do_not_run_into_each_other(count: int) -> None:
    figure = curves(
        UNITS[:count], {"a long name of a line": [0.5] * count}, "AUROC", chosen="block1.1"
    )
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == count
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(labels))


def test_a_matrix_shows_its_values_and_what_is_below_the_scale() -> None:
    values = np.array([[1, -0.25], [-0.25, np.nan]])
    figure = matrices(["stem", "block1.1"], {"before": values}, "excess")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "-0.25", "-0.25", ""]
    bar = figure.axes[0].images[0].colorbar
    assert bar is not None
    assert bar.extend == "min"
