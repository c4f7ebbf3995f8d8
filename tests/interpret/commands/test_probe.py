from __future__ import annotations

import numpy as np
import pytest
import torch

from ttl_lightning.interpret.commands.probe import Options, probe_run, report
from ttl_lightning.runs.open import OpenRun
from ttl_lightning.tasks.probes import Labelled, probe


@pytest.mark.slow
def test_every_unit_before_and_after(open_cut: OpenRun) -> None:
    found = probe_run(open_cut, Options())
    assert tuple(found) == open_cut.after.backbone.cutoffs
    for when in ("before", "after"):
        model = getattr(open_cut, when)
        splits = {}
        for split in ("train", "val", "test"):
            with torch.no_grad():
                maps = [
                    model.backbone(b["image"]).double().mean((2, 3))
                    for b in open_cut.batches(split)
                ]
            features = torch.cat(maps).numpy()
            splits[split] = Labelled(features, open_cut.data.labels(split))
        expected = probe(splits, "binary")
        ours = found["block2.1"][when]
        assert ours.penalty == expected.penalty
        assert ours.metrics == pytest.approx(expected.metrics, abs=1e-3)


@pytest.mark.slow
def test_the_table_and_the_curves(open_cut: OpenRun) -> None:
    findings = report(open_cut, Options())
    assert list(findings.figures) == ["auroc", "auprc"]
    best = max(findings.rows, key=lambda row: row["before_val_auprc"])
    assert best["unit"] in findings.headline
    assert np.isfinite([row["after_test_auroc"] for row in findings.rows]).all()
