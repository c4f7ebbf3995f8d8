from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.analyze.test_transfer import reference
from ttl_lightning.analyze.cross import Options, cross, report
from ttl_lightning.analyze.runs import OpenRun
from ttl_lightning.errors import DataError


def test_every_pair_at_the_smaller_grid(open_cut: OpenRun) -> None:
    found = cross(open_cut, variance=1.0)
    assert found.units == ("stem", "block1.1", "block2.1")
    assert list(found.after) == list(itertools.combinations(found.units, 2))
    with torch.no_grad():
        batches = [dict(open_cut.after.backbone.features(b["image"]))
                   for b in open_cut.batches("test")]  # fmt: skip
    maps = {unit: torch.cat([batch[unit] for batch in batches]).double() for unit in found.units}
    for (a, b), alike in found.after.items():
        size = min(maps[a].shape[-1], maps[b].shape[-1])
        pooled = [functional.avg_pool2d(maps[u], maps[u].shape[-1] // size) for u in (a, b)]
        x, y = (z.movedim(1, -1).flatten(0, -2).numpy() for z in pooled)
        np.testing.assert_allclose(alike.coefficients, reference(x, y), atol=1e-6)


def test_the_table_and_the_matrix(open_full: OpenRun) -> None:
    findings = report(open_full, Options(most=12))
    assert len(findings.rows) == 10
    assert list(findings.figures) == [""]
    for row in findings.rows:
        assert 0 <= row["before_mean"] <= 1
        assert row["before_random_mean"] < 1
    assert "training changed" in findings.headline


def test_one_unit_has_no_pair(open_cut: OpenRun) -> None:
    alone = OpenRun(
        open_cut.folder, open_cut.result, open_cut.data, open_cut.before, open_cut.after,
        open_cut.device,
    )  # fmt: skip
    alone.after.backbone.units, units = alone.after.backbone.units[:1], alone.after.backbone.units
    try:
        with pytest.raises(DataError, match="has one unit only"):
            report(alone, Options())
    finally:
        alone.after.backbone.units = units
