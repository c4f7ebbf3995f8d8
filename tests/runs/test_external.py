"""Finished runs scored on data that they were not trained on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import recall_score, roc_auc_score

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.external import Request, evaluate_on

RNG = np.random.default_rng(0)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder of two classes, of which the run's names are not known."""
    for name in ("healthy", "ill"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(9):
            values = RNG.integers(0, 200, (40, 44), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def classes_of(run: Path, *theirs: str) -> dict[str, str]:
    return dict(zip(theirs, ttl.load(run).class_names, strict=True))


def test_the_runs_own_test_split_has_the_runs_own_numbers(cut: Path) -> None:
    (found,) = evaluate_on(Request(run=[str(cut)], device="cpu"))
    result = RunResult.load(cut)
    for name in ("auroc", "auprc", "accuracy", "ece"):
        assert found.evaluation.metrics[name] == pytest.approx(result.metrics[f"test/{name}"])
    assert found.evaluation.operating["test"] == pytest.approx(result.operating["test"])
    assert found.evaluation.intervals["auroc"] == pytest.approx(result.intervals["test/auroc"])


def test_other_data_are_matched_by_name_and_all_of_them_are_tested(cut, other, tmp_path) -> None:
    request = Request(
        run=[str(cut)], overrides=["data=folder", f"data.path={other}"],
        classes=classes_of(cut, "healthy", "ill"), device="cpu",
    )  # fmt: skip
    (found,) = evaluate_on(request)
    found.write(tmp_path / "out")
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = ttl.load(cut).class_names
    assert len(table) == 18
    positive = np.array([row["label"] == names[1] for row in table])
    assert positive.tolist() == [row["id"].startswith("ill/") for row in table]
    scores = np.array([float(row[f"probability/{names[1]}"]) for row in table])
    kept = json.loads((tmp_path / "out/result.json").read_text())
    assert kept["metrics"]["auroc"] == pytest.approx(roc_auc_score(positive, scores))
    at = kept["operating"]["thresholds"][names[1]]
    assert kept["operating"]["test"]["sensitivity"] == recall_score(positive, scores > at)
    assert (tmp_path / "out/roc.png").is_file()
    with pytest.raises(ConfigError, match="is there already"):
        found.write(tmp_path / "out")


def test_several_runs_are_beside_each_other_and_their_mean(cut: Path, full: Path) -> None:
    first, second, mean = evaluate_on(Request(run=[str(cut), str(full)], device="cpu"))
    auroc = [each.evaluation.metrics["auroc"] for each in (first, second)]
    assert second.evaluation.differences["auroc"]["difference"] == pytest.approx(
        auroc[1] - auroc[0]
    )
    np.testing.assert_allclose(
        mean.table.probabilities, (first.table.probabilities + second.table.probabilities) / 2
    )


def test_scaling_keeps_the_order(cut: Path) -> None:
    (plain,) = evaluate_on(Request(run=[str(cut)], device="cpu"))
    (scaled,) = evaluate_on(Request(run=[str(cut)], device="cpu", calibrated=True))
    assert scaled.evaluation.metrics["auroc"] == pytest.approx(plain.evaluation.metrics["auroc"])
    ece = RunResult.load(cut).calibration["test"]["ece_scaled"]
    assert scaled.evaluation.metrics["ece"] == pytest.approx(ece)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"classes": {}}, DataError, "the run knows .*classes.THEIRS=OURS"),
        ({"classes": {"absent": "x"}}, DataError, "has no 'absent'"),
        ({"extra": ["data.image_size=48"]}, ConfigError, "data.image_size is the run's own"),
        ({"threshold": "yuden"}, ConfigError, "did you mean 'youden'"),
    ],
)
def test_mistakes(cut, other, change, error, text) -> None:
    data = ["data=folder", f"data.path={other}", *change.pop("extra", [])]
    given = {"classes": classes_of(cut, "healthy", "ill"), **change}
    with pytest.raises(error, match=text):
        evaluate_on(Request(run=[str(cut)], overrides=data, device="cpu", **given))


def test_a_run_of_images_sees_no_volumes(cut: Path) -> None:
    with pytest.raises(ConfigError, match="the run sees images, and data=phantom3d has studies"):
        evaluate_on(Request(run=[str(cut)], overrides=["data=phantom3d"], device="cpu"))
