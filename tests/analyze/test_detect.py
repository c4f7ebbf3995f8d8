from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttl_lightning.analyze.__main__ import analyze
from ttl_lightning.analyze.runs import OpenRun
from ttl_lightning.analyze.transfer import row, transfer
from ttl_lightning.errors import ConfigError


def test_the_last_unit_above_the_threshold(full: Path, open_full: OpenRun) -> None:
    scores = {unit.unit: row(unit)["excess"] for unit in transfer(open_full, "val")}
    for threshold in (0.0, 0.2, 0.6):
        arguments = [f"run={full}", f"threshold={threshold}", "device=cpu"]
        findings, files = analyze("detect", arguments)
        above = [unit for unit, score in scores.items() if score > threshold]
        expected = above[-1] if above else next(iter(scores))
        chosen = json.loads(files[0].read_text())["detection"]["unit"]
        assert chosen == expected
        assert f"strategy=ttl cutoff={expected}" in findings.headline


def test_only_full_finetuning_tells(cut: Path) -> None:
    text = r"strategy=ftl\), and .* holds strategy=ttl\.$"
    with pytest.raises(ConfigError, match=text):
        analyze("detect", [f"run={cut}", "device=cpu"])
