from __future__ import annotations

from pathlib import Path

import pytest

from ttl_lightning.cli.analyze import analyze
from ttl_lightning.errors import ConfigError, UnknownCutoffError
from ttl_lightning.interpret.commands.visualize import Options, report
from ttl_lightning.interpret.maximisation import maximise
from ttl_lightning.runs.open import OpenRun


def test_both_models_from_the_same_noise(open_cut: OpenRun) -> None:
    findings = report(open_cut, Options("block1", [3, 0], steps=8, seed=2))
    assert [(row["unit"], row["channel"]) for row in findings.rows] == [
        ("block1.1", 3), ("block1.1", 0)
    ]  # fmt: skip
    for when in ("before", "after"):
        model = getattr(open_cut, when)
        drawn = maximise(model.backbone, "block1", [3, 0], 32, 8, 2)
        responses = [row[f"{when}_end"] for row in findings.rows]
        assert responses == pytest.approx(drawn.end.tolist())
    assert len(findings.figures[""].axes) == 4


def test_the_last_unit_and_its_first_channels(cut: Path) -> None:
    findings, files = analyze("visualize", [f"run={cut}", "count=2", "steps=4", "device=cpu"])
    assert [(row["unit"], row["channel"]) for row in findings.rows] == [
        ("block2.1", 0), ("block2.1", 1)
    ]  # fmt: skip
    assert [path.name for path in files] == [
        f"visualize.{kind}" for kind in ("json", "csv", "png", "pdf", "svg")
    ]


def test_mistakes(open_cut: OpenRun) -> None:
    with pytest.raises(UnknownCutoffError):
        report(open_cut, Options("block9"))
    with pytest.raises(ConfigError, match="channel"):
        report(open_cut, Options(channels=[100000], steps=1))
