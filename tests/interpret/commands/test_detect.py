from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttl_lightning.cli.analyze import analyze
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.interpret.commands.detect import Options, report
from ttl_lightning.interpret.commands.options import Images
from ttl_lightning.interpret.commands.transfer import compare, row
from ttl_lightning.runs.open import OpenRun


def test_the_last_unit_above_the_threshold(full: Path, open_full: OpenRun) -> None:
    rows = [row(unit) for unit in compare(open_full, Images("val"))]
    scores = {row["unit"]: row["excess"] for row in rows if row["random_mean"] <= 0.5}
    for threshold in (0.0, 0.2, 0.6):
        arguments = [f"run={full}", f"threshold={threshold}", "device=cpu"]
        findings, files = analyze("detect", arguments)
        above = [unit for unit, score in scores.items() if score > threshold]
        expected = above[-1] if above else next(iter(scores))
        detection = json.loads(files[0].read_text())["detection"]
        assert detection["unit"] == expected
        assert detection["error"] > 0
        assert detection["margin"] == pytest.approx(scores[detection["nearest"]] - threshold)
        assert detection["close"] == (abs(detection["margin"]) < 2 * detection["error"])
        assert f"A {'close' if detection['close'] else 'clear'} choice" in findings.headline
        assert f"strategy=ttl cutoff={expected}" in findings.headline


def test_what_the_rule_does_not_read_is_not_computed(
    open_full: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    permutations: list[int] = []
    monkeypatch.setattr("ttl_lightning.interpret.commands.transfer.mismatched", permutations.append)
    findings = report(open_full, Options())
    assert not permutations
    unit = compare(open_full, Images("val"))[0]
    assert list(findings.rows[0]) == [*row(unit), "score", "note"]
    assert not any("permuted" in column for column in findings.rows[0])


def test_unknown_candidates_are_found_before_the_pass(
    open_full: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenRun, "batches", lambda *_: pytest.fail("a pass was begun"))
    with pytest.raises(UnknownNameError, match="units 'foo'"):
        report(open_full, Options(units="foo"))


def test_only_full_finetuning_tells(cut: Path) -> None:
    text = r"strategy=ftl\), and .* holds strategy=ttl\.$"
    with pytest.raises(ConfigError, match=text):
        analyze("detect", [f"run={cut}", "device=cpu"])
