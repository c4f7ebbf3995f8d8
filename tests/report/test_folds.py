"""Folds of a cross-validation: one method, and one table in which each sample is scored once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import ttl_lightning as ttl
from tests.conftest import SMALL
from ttl_lightning.report.collect import collect
from ttl_lightning.report.folds import as_table, out_of_fold
from ttl_lightning.report.methods import group


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folds")
    for fold in range(3):
        given = ["strategy=ttl", "cutoff=block2", "trainer.max_epochs=1", "data.folds=3"]
        ttl.train(overrides=[*SMALL, *given, f"data.fold={fold}"], run_dir=root / str(fold))
    return root


def test_folds_are_one_method_whose_samples_are_scored_once(folds: Path) -> None:
    (found,) = group(collect(folds).runs)
    (method,) = found.methods
    assert len(method.runs) == 3
    (joined,), problems = out_of_fold(folds, [method])
    assert problems == []
    rows = list(csv.DictReader(as_table([joined]).splitlines()))
    assert len({row["id"] for row in rows}) == len(rows) == 88  # all that are drawn
    (name,) = [key for key in rows[0] if key.endswith("ground_glass")]
    positive = [row["label"] == "ground_glass" for row in rows]
    expected = roc_auc_score(positive, [float(row[name]) for row in rows])
    value, low, high = joined.scores["AUROC"]
    assert value == pytest.approx(expected)
    assert low < value < high
    each = [json.loads((folds / f"{n}/result.json").read_text()) for n in range(3)]
    mean = np.mean([one["metrics"]["test/auroc"] for one in each])
    assert method.mean("test/auroc") == pytest.approx(mean)


def test_folds_that_are_not_all_there_are_not_joined(folds: Path) -> None:
    runs = [run for run in collect(folds).runs if run.result.fold != 1]
    (found,) = group(runs)
    joined, problems = out_of_fold(folds, found.methods)
    assert joined == []
    assert "2 of 3 folds of seed 0" in problems[0]
