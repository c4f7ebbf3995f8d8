from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import Run


def make(strategy="ttl", cutoff="block1.1", seed=0, *, place=1, val=0.9, test=0.8, params=1000,
         overrides=(), status="completed", ratio=..., **fields) -> RunResult:  # fmt: skip
    """A run with everything that the report reads."""
    split = {"cutoff": cutoff, "cutoff_index": place if cutoff else None}
    result = RunResult(
        name="n", data=fields.pop("data", "npz"), backbone=fields.pop("backbone", "net"),
        strategy=strategy, seed=seed, status=status, **split, **fields,
    )  # fmt: skip
    result.metrics.update({
        "val/auroc": val, "val/auprc": val, "test/auroc": test, "test/auprc": test,
    })  # fmt: skip
    cpu = {
        "min": params / 1100, "median": params / 1000, "p95": 9.0, "passes": 50, "noise": 0.01,
        "batch_size": 1, "threads": 1, "ratio": params / 10000 if ratio is ... else ratio,
    }  # fmt: skip
    whole = {"params": 10000, "macs": 10**5, "latency_ms": {"cpu": {"min": 10000 / 1100}}}
    result.complexity.update({
        "params": params, "trainable_params": params, "macs": 10 * params,
        "latency_ms": {"cpu": cpu}, "untruncated": whole,
    })  # fmt: skip
    result.train.update({"epochs": 5, "best_epoch": 3, "wall_s": 1.5})
    result.model.update({"task": "binary", "class_names": ["well", "sick"]})
    result.overrides.extend(
        [f"strategy={strategy}", f"cutoff={cutoff}", f"seed={seed}", *overrides]
    )
    return result


@pytest.fixture
def result():
    return make


@pytest.fixture
def run():
    """A run as `collect` gives it; its folder says which it is."""

    def build(strategy="ttl", cutoff="block1.1", seed=0, **fields) -> Run:
        folder = fields.pop("folder", f"{strategy}/{cutoff}/seed{seed}")
        return Run(folder, make(strategy, cutoff, seed, **fields))

    return build


class SweepFolder:
    """A sweep's folder that tests fill."""

    def __init__(self, root: Path) -> None:
        self.root = root
        draw = np.random.default_rng(0)
        self.sick = draw.random(120) < 0.4
        self.noise = draw.normal(size=120)

    def add(self, folder: str, result: RunResult, *, signal: float | None = None) -> None:
        """Save a run; with a signal also its predictions, the better the higher it is."""
        path = self.root / folder
        path.mkdir(parents=True)
        result.save(path)
        if signal is not None:
            own = np.random.default_rng(result.seed).normal(size=len(self.sick))
            scores = 1 / (1 + np.exp(-(signal * self.sick + self.noise + 0.3 * own)))
            self.predictions(folder, scores)

    def predictions(self, folder: str, scores: np.ndarray) -> None:
        with (self.root / folder / "predictions.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "split", "label", "probability/well", "probability/sick"])
            writer.writerow(["v", "val", "well", 0.5, 0.5])
            for number, (sick, score) in enumerate(zip(self.sick, scores, strict=True)):
                label = "sick" if sick else "well"
                writer.writerow([f"test/{number}", "test", label, 1 - score, score])

    def search(self, **changes) -> None:
        entry = {
            "data": "npz", "backbone": "net", "strategy": "ttl", "overrides": [], "seeds": [0],
            "trials": [{"cutoff": "block1.1", "folders": ["ttl/block1.1/seed0"]}],
            "choice": "block1.1", "reason": "It was asked for.",
        }  # fmt: skip
        content = {"schema": changes.pop("schema", 1)}
        content["searches"] = [entry | {"method": "hierarchical", "metric": "val/auprc"} | changes]
        (self.root / "search.json").write_text(json.dumps(content))


@pytest.fixture
def sweep_folder(tmp_path) -> SweepFolder:
    root = tmp_path / "sweep"
    root.mkdir()
    return SweepFolder(root)
