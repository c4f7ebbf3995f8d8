from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.interpret.commands.test_transfer import reference
from ttl_lightning.errors import DataError
from ttl_lightning.interpret.commands.cross import Options, cross, related, report
from ttl_lightning.interpret.moments import Moments
from ttl_lightning.interpret.svcca import similarity
from ttl_lightning.runs.open import OpenRun


@pytest.mark.slow
def test_every_pair_at_the_smaller_grid(open_cut: OpenRun) -> None:
    found = cross(open_cut, Options(variance=1.0))
    units = ("stem", "block1.1", "block2.1")
    assert list(found["after"]) == list(itertools.combinations(units, 2))
    with torch.no_grad():
        batches = [dict(open_cut.after.backbone.features(b["image"]))
                   for b in open_cut.batches("test")]  # fmt: skip
    maps = {unit: torch.cat([batch[unit] for batch in batches]).double() for unit in units}
    for (a, b), alike in found["after"].items():
        size = min(maps[a].shape[-1], maps[b].shape[-1])
        pooled = [functional.avg_pool2d(maps[u], maps[u].shape[-1] // size) for u in (a, b)]
        x, y = (z.movedim(1, -1).flatten(0, -2).numpy() for z in pooled)
        np.testing.assert_allclose(alike.coefficients, reference(x, y), atol=1e-6)


@pytest.mark.slow
def test_components_are_computed_once_a_unit_and_grid(
    open_full: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = open_full.units("all")
    backbone = open_full.after.backbone
    moments = Moments(itertools.combinations(names, 2))
    with torch.no_grad():
        for batch in open_full.batches("test"):
            maps = dict(backbone.features(batch["image"]))
            moments.update(maps)
    grids = {unit: tuple(maps[unit].shape[2:]) for unit in names}
    expected = {pair: similarity(moments.pair(*pair), 0.9) for pair in moments.pairs}
    decomposed: list[torch.Tensor] = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda x: (decomposed.append(x), eigh(x))[1])
    found = related(moments, grids, 0.9)
    pooled = {(u, min(grids[a], grids[b])) for a, b in moments.pairs for u in (a, b)}
    assert len(decomposed) == len(pooled) < len(moments.pairs) * 2
    assert found.keys() == expected.keys()
    for pair, alike in found.items():
        np.testing.assert_allclose(
            alike.coefficients, expected[pair].coefficients, rtol=0, atol=1e-12
        )
        assert alike.pwcca == pytest.approx(expected[pair].pwcca, abs=1e-12)
        assert (alike.retained, alike.n) == (expected[pair].retained, expected[pair].n)


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
        open_cut.device, open_cut.task,
    )  # fmt: skip
    alone.after.backbone.units, units = alone.after.backbone.units[:1], alone.after.backbone.units
    try:
        with pytest.raises(DataError, match="has one unit only"):
            report(alone, Options())
    finally:
        alone.after.backbone.units = units
