from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from hydra_plugins.ttl_lightning import sweepers
from ttl_lightning.analysis.detection import THRESHOLD
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.sweep.reuse import mean_of, measured, pointed_at

# excess: 0.8, 0.5, 0.25, 0.1
MEANS = {
    "block1": (0.82, 0.1), "block2": (0.6, 0.2), "block3": (0.4, 0.2), "block4": (0.55, 0.5),
}  # fmt: skip


def test_means_over_runs() -> None:
    one = {"stem": (0.8, 0.1), "block1": (None, 0.2)}
    other = {"stem": (0.6, 0.3), "block1": (1.0, 0.4)}
    assert mean_of([one, other]) == {
        "stem": (pytest.approx(0.7), pytest.approx(0.2)), "block1": (None, pytest.approx(0.3))
    }  # fmt: skip


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
    assert pointed_at(MEANS, threshold, candidates).unit == expected


def test_the_command_line_has_the_threshold_that_was_calibrated() -> None:
    folder = Path(sweepers.__file__).parents[2] / "conf" / "hydra" / "sweeper"
    written = yaml.safe_load((folder / "detect.yaml").read_text(encoding="utf-8"))["threshold"]
    default = inspect.signature(sweepers.DetectSweeper).parameters["threshold"].default
    assert written == default == THRESHOLD


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        pointed_at(MEANS, 1.5, list(MEANS))
    nothing = dict.fromkeys(MEANS, (None, None))
    with pytest.raises(DataError, match="can be judged"):
        pointed_at(nothing, 0.2, list(MEANS))


@pytest.mark.slow
def test_what_cannot_be_analysed_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be analysed: ") as caught:
        measured(tmp_path, "val")
    assert "\n" not in str(caught.value)
