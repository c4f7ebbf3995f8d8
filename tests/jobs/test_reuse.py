from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.interpret.detection import THRESHOLD, Error, Reuse
from ttl_lightning.jobs.reuse import DetectedByReuse, Measured, combined, mean_of, measured

# excess: 0.8, 0.5, 0.25, 0.1
MEANS = {
    "block1": Reuse(0.82, 0.1), "block2": Reuse(0.6, 0.2), "block3": Reuse(0.4, 0.2),
    "block4": Reuse(0.55, 0.5),
}  # fmt: skip


def test_means_over_runs() -> None:
    one = {"stem": Reuse(0.8, 0.1), "block1": Reuse(None, 0.2)}
    other = {"stem": Reuse(0.6, 0.3), "block1": Reuse(1.0, 0.4)}
    assert mean_of([one, other]) == {
        "stem": (pytest.approx(0.7), pytest.approx(0.2), None, None),
        "block1": (None, pytest.approx(0.3), None, None),
    }  # fmt: skip


def test_the_error_is_of_the_images_for_one_run_and_of_the_spread_for_more() -> None:
    own = Error(0.01, "from two halves of the images")
    tables = [  # excess of block1: 0.8, 0.6, 0.7; of block2: 0.5, 0.5, 0.2; block3 is not judged
        {"block1": Reuse(x, 0.0), "block2": Reuse(0.5 + y / 2, y), "block3": Reuse(0.9, 0.6)}
        for x, y in ((0.8, 0.0), (0.6, 0.0), (0.7, 0.4))
    ]
    tables[2]["block2"] = Reuse(0.52, 0.4)
    runs = [Measured(table, own) for table in tables]
    assert combined(runs[:1]) == runs[0]
    found = combined(runs)
    assert found.means == mean_of(tables)
    spreads = [np.std(x, ddof=1) / np.sqrt(3) for x in ((0.8, 0.6, 0.7), (0.5, 0.5, 0.2))]
    assert found.error is not None
    assert found.error.size == pytest.approx(np.sqrt(np.mean(np.square(spreads))))
    choice = DetectedByReuse(0.4).method(found, list(tables[0]))
    assert "A close choice" in choice.reason
    assert choice.reason.endswith("(of the mean of 3 full finetunings).")
    nothing = [Measured({"block1": Reuse(None, 0.1)}, own)] * 2
    assert combined(nothing).error is None
    assert combined(runs[:2]).error is None  # of two units, each in two runs


@pytest.mark.parametrize(
    ("threshold", "candidates", "expected"),
    [
        (0.2, list(MEANS), "block3"),
        (0.3, list(MEANS), "block2"),
        (0.05, list(MEANS), "block4"),
        (0.9, list(MEANS), "block1"),
        (0.2, ["block1", "block4"], "block1"),
    ],
)
def test_the_last_unit_that_is_kept(threshold, candidates, expected) -> None:
    method = DetectedByReuse(threshold).method(Measured(MEANS, None), candidates)
    assert method.candidate == expected


def test_the_command_line_has_the_threshold_that_was_calibrated(composed) -> None:
    assert composed(["hydra/sweeper=detect"]).hydra.sweeper.threshold == THRESHOLD
    assert DetectedByReuse().threshold == THRESHOLD


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.threshold"):
        DetectedByReuse(threshold=1.5)
    with pytest.raises(UnknownNameError, match=r"hydra\.sweeper\.split .*'test'"):
        DetectedByReuse(split="test")
    nothing = Measured(dict.fromkeys(MEANS, Reuse(None, None)), None)
    with pytest.raises(DataError, match="can be judged"):
        DetectedByReuse(0.2).method(nothing, list(MEANS))


@pytest.mark.slow
def test_what_cannot_be_analysed_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be analysed: ") as caught:
        measured(tmp_path, "val")
    assert "\n" not in str(caught.value)
