"""Numbers of images, from a table to predictions of new images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score
from torch import nn

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.exports.export import export
from ttl_lightning.exports.options import ExportOptions
from ttl_lightning.runs.external import Request, evaluate_on
from ttl_lightning.tasks.regression import RegressionTask

RNG = np.random.default_rng(0)
SHORT = ["task=regression", "data=csv", "data.image_size=32", "trainer.max_epochs=3",
         "data.batch_size=8", "trainer.accelerator=cpu", "latency=false", "strategy=ttl",
         "cutoff=block2", "backbone=test_resnet", "backbone.weights=null",
         "protocol.learning_rate=3e-3"]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Images and how bright each is, in thousands; of one in five the second number is unknown."""
    root = tmp_path_factory.mktemp("numbers")
    rows = ["path,dose,side,kind"]
    for number in range(60):
        bright = RNG.random()
        values = 40 + 160 * bright + 20 * RNG.random((36, 36))
        Image.fromarray(values.astype(np.uint8)).save(root / f"{number}.png")
        side = "" if number % 5 == 0 else f"{-3 * bright:.4f}"
        rows.append(f"{number}.png,{1000 * bright:.3f},{side},{'ab'[number % 2]}")
    (root / "table.csv").write_text("\n".join(rows))
    return root / "table.csv"


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    folder = table.parent / "run"
    one = [f"data.path={table}", "data.label_columns=[dose]"]
    ttl.train(overrides=[*SHORT, *one], run_dir=folder)
    return folder


def rows(folder: Path, split: str = "test") -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def test_scores_are_those_of_the_table_in_the_targets_own_unit(run: Path) -> None:
    found = rows(run)
    true, predicted = (
        np.array([float(row[f"{key}/dose"]) for row in found]) for key in ("value", "prediction")
    )
    assert true.max() > 300  # thousands, not deviations
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert metrics["test/mae"] == pytest.approx(mean_absolute_error(true, predicted))
    assert metrics["test/r2"] == pytest.approx(r2_score(true, predicted))
    assert metrics["test/r2"] > 0.3  # brightness is easily seen
    assert (run / "scatter.png").is_file()


def test_new_images_are_predicted_as_the_run_did(run: Path, table: Path) -> None:
    found = rows(run)
    answer = ttl.load(run).predict([str(table.parent / row["id"]) for row in found])
    told = [float(value) for value in answer.columns["prediction/dose"]]
    np.testing.assert_allclose(
        told, [float(row["prediction/dose"]) for row in found], rtol=1e-6, atol=1e-3
    )


def test_several_numbers_of_which_some_are_unknown(table: Path, tmp_path: Path) -> None:
    two = [f"data.path={table}", "data.label_columns=[dose,side]", "data.missing=ignore"]
    result = ttl.train(overrides=[*SHORT, *two], run_dir=tmp_path / "run")
    assert result.metrics["test/r2"] == pytest.approx(
        (result.metrics["test/r2/dose"] + result.metrics["test/r2/side"]) / 2
    )
    assert "side 12" in result.notes["data"]


def test_a_run_is_scored_on_other_data(run: Path, table: Path) -> None:
    (same,) = evaluate_on(Request(run=[str(run)], device="cpu"))
    result = json.loads((run / "result.json").read_text())
    assert same.evaluation.metrics["r2"] == pytest.approx(result["metrics"]["test/r2"])
    other = ["data=csv", f"data.path={table}", "data.label_columns=[dose]"]
    (every,) = evaluate_on(Request(run=[str(run)], device="cpu", overrides=other))
    assert every.evaluation.samples == 60
    _, second, _ = evaluate_on(Request(run=[str(run), str(run)], device="cpu"))
    assert second.evaluation.differences["r2"]["difference"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_a_run_is_exported(run: Path, tmp_path: Path, kind: str) -> None:
    export(ExportOptions(run=str(run), format=kind, output=str(tmp_path / "out")))
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert card["output"]["name"] == "values"
    assert card["checked"]["largest_difference"] < 1e-4


def test_the_loss_is_of_deviations_and_of_what_is_known() -> None:
    task = RegressionTask(nn.Identity(), targets=("a", "b"), center=(10, 0), spread=(2, 5))
    outputs = torch.tensor([[0.5, 0.0], [1.0, 2.0]])
    labels = torch.tensor([[12.0, float("nan")], [10.0, 5.0]])
    # (0.5 - 1)² + (1 - 0)² + (2 - 1)², three known
    assert task.loss(outputs, {"label": labels}).item() == pytest.approx(2.25 / 3)
    unknown = torch.full((2, 2), float("nan"))
    outputs.requires_grad_()
    loss = task.loss(outputs, {"label": unknown})
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert not outputs.grad.any()


def test_windows_of_a_study_are_averaged() -> None:
    task = RegressionTask(nn.Identity(), targets=("a",), center=(1,), spread=(2,))
    found = task.table({
        "id": np.arange(3), "study": np.array([0, 0, 1]),
        "outputs": np.array([[0.0], [1.0], [4.0]]), "label": np.zeros((3, 1)),
        "study_label": np.array([[5.0], [5.0], [6.0]]),
    })  # fmt: skip
    np.testing.assert_allclose(found.predicted, [[2], [9]])
    np.testing.assert_allclose(found.true, [[5], [6]])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["data.label_columns=[kind]"], "a number"),
        (["data.label_columns=[dose]", "data.classes=[a,b]"], "data.classes is for classes"),
        (["data.label_columns=[dose]", "data.missing=zeros"], "data.missing=zeros"),
        (["data.label_columns=[side]"], "data.missing=drop"),
        (["data.label_columns=[dose]", "protocol.loss=dice"], "unknown protocol.loss 'dice'"),
        (["data.label_columns=[dose]", "protocol.monitor=val/auroc"], "protocol.monitor"),
        (["data=phantom"], "task=regression needs numbers, and data=phantom has classes"),
    ],
)
def test_a_mistake_is_one_line(table: Path, tmp_path: Path, given: list[str], text: str) -> None:
    path = [] if "data=phantom" in given else [f"data.path={table}"]
    with pytest.raises(TTLError, match=text) as caught:
        ttl.train(overrides=[*SHORT, *path, *given], run_dir=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_classes_are_not_numbers(table: Path, tmp_path: Path) -> None:
    given = ["data.label_columns=[dose]", f"data.path={table}", "data.numbers=true"]
    with pytest.raises(ConfigError, match="task=regression"):
        ttl.train(overrides=[*SHORT[1:], *given], run_dir=tmp_path / "run")
    lines = table.read_text().splitlines()
    same = table.parent / "same.csv"
    same.write_text("\n".join([lines[0], *(f"{n}.png,7,,a" for n in range(20))]))
    with pytest.raises(TTLError, match=r"have the value 7 only in column 'dose'"):
        ttl.train(
            overrides=[*SHORT, f"data.path={same}", "data.label_columns=[dose]"],
            run_dir=tmp_path / "run",
        )
