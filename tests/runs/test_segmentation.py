"""task=segmentation as a user runs it: trained, gone on with, loaded, searched and reported."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

import ttl_lightning as ttl
from ttl_lightning.cli.analyze import analyze
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.metrics.segmentation import MaskScores, intervals
from ttl_lightning.report import sweep
from ttl_lightning.tasks.mask_figure import chosen
from ttl_lightning.tasks.segmentation import SegmentationTask

SMALL = [
    "task=segmentation", "backbone=test_resnet", "backbone.weights=null", "data.image_size=32",
    "data.train_size=24", "data.val_size=8", "data.test_size=9", "protocol.batch_size=8",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=2",
    "latency=false",
]  # fmt: skip
RUNS = {"ftl": ["strategy=ftl"], "ttl": ["strategy=ttl", "cutoff=block2"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs in a sweep's folder."""
    root = tmp_path_factory.mktemp("sweep")
    for name, overrides in RUNS.items():
        ttl.train(overrides=[*SMALL, *overrides], run_dir=root / name)
    return root


def test_a_run_is_scored_image_by_image(runs: Path) -> None:
    result = json.loads((runs / "ttl/result.json").read_text())
    assert result["status"] == "completed"
    with (runs / "ttl/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert [row["id"] for row in rows] == [f"test/{n}" for n in range(9)]
    for metric in ("dice", "jaccard", "hd95"):
        values = np.array([float(row[f"{metric}/lungs"]) for row in rows])
        mean = result["metrics"][f"test/{metric}"]
        assert mean == pytest.approx(values[np.isfinite(values)].mean(), rel=1e-5)
    low, high = result["intervals"]["test/dice"]
    assert low <= result["metrics"]["test/dice"] <= high
    with (runs / "ttl/metrics.csv").open() as file:
        epochs = [float(row["val/dice"]) for row in csv.DictReader(file)]
    assert result["train"]["best_epoch"] == epochs.index(max(epochs))


def test_both_sides_are_cut(runs: Path) -> None:
    cost = json.loads((runs / "ttl/result.json").read_text())["complexity"]
    whole = json.loads((runs / "ftl/result.json").read_text())["complexity"]
    assert cost["untruncated"]["params"] == whole["params"]
    assert cost["macs_by_unit"]["head"] < whole["macs_by_unit"]["head"]


def test_a_finished_run_is_loaded(runs: Path) -> None:
    predictor = ttl.load(runs / "ttl")
    assert isinstance(predictor.task, SegmentationTask)
    assert predictor.task.regions == ("lungs",)
    images = torch.rand(2, 3, 32, 32)
    assert predictor(images).shape == (2, 1, 32, 32)
    opened = ttl.open_run(runs / "ttl")
    batch = next(iter(opened.data.test_dataloader()))
    kept = predictor.task.rows(predictor.task.outputs(batch), batch)
    with (runs / "ttl/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    written = [float(row["dice/lungs"]) for row in rows[: len(batch["id"])]]
    assert kept["dice"][:, 0].tolist() == pytest.approx(written, abs=1e-6)


def test_predicted_masks_are_written_where_they_are_asked_for(runs: Path, tmp_path: Path) -> None:
    options = [*SMALL, *RUNS["ttl"], "task.save_masks=true"]
    ttl.train(overrides=options, run_dir=tmp_path / "run")
    with (tmp_path / "run/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    data = ttl.open_run(tmp_path / "run").data
    references = [mask for batch in data.test_dataloader() for mask in batch["reference"]]
    for row, reference in zip(rows, references, strict=True):
        mask = np.asarray(Image.open(tmp_path / f"run/predictions/{row['id']}.png"))
        dice = f1_score(reference.ravel(), mask.ravel())
        assert float(row["dice/lungs"]) == pytest.approx(dice, abs=1e-6)
    assert not (runs / "ttl/predictions").exists()


def test_a_figure_shows_the_worst_the_median_and_the_best(runs: Path) -> None:
    with Image.open(runs / "ttl/examples.png") as picture:
        assert picture.width > 2 * picture.height
    with (runs / "ttl/predictions.csv").open() as file:
        dice = {
            row["id"]: float(row["dice/lungs"])
            for row in csv.DictReader(file)
            if row["split"] == "test"
        }
    table = MaskScores(
        np.arange(9),
        {"dice": np.array(list(dice.values()))[:, None]},
        *np.ones((2, 9, 1), np.int64),
        np.zeros(9, bool),
    )
    titles = list(chosen(table).values())
    ordered = sorted(dice.values())
    assert titles == [
        f"worst, Dice {ordered[0]:.3f}",
        f"median, Dice {ordered[4]:.3f}",
        f"best, Dice {ordered[8]:.3f}",
    ]


def test_the_report_tests_dice(runs: Path) -> None:
    summary = sweep.write(runs)
    table = (runs / "table.md").read_text()
    assert "test Dice | test Jaccard" in table
    assert "Dice − FTL (95 % interval)" in table
    assert summary.headlines
    page = (runs / "report.html").read_text()
    assert "Dice against the cutoff" in page
    assert "AUPRC" not in page
    for run in RUNS:
        assert base64.b64encode((runs / run / "examples.png").read_bytes()).decode() in page
    assert "TTL (truncated) at block2" in page.partition("<h3>Examples</h3>")[2]


def test_a_paused_run_goes_on_to_the_same_end(runs: Path, tmp_path: Path) -> None:
    options = [*SMALL, *RUNS["ttl"]]
    ttl.train(overrides=[*options, "until_epoch=1"], run_dir=tmp_path / "run")
    result = ttl.train(overrides=options, run_dir=tmp_path / "run")
    whole = json.loads((runs / "ttl/result.json").read_text())
    assert result.metrics == pytest.approx(whole["metrics"])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ffe", "lwft", "tf"])
def test_other_strategies(strategy: str, tmp_path: Path) -> None:
    cut = [] if strategy == "ffe" else ["cutoff=block2"]
    options = [*SMALL, f"strategy={strategy}", *cut, "trainer.max_epochs=1", "data.region=lesions"]
    result = ttl.train(overrides=options, run_dir=tmp_path / "run")
    assert result.status == "completed"
    assert result.metrics["test/dice"] is not None


@pytest.mark.slow
def test_drawn_volumes(tmp_path: Path) -> None:
    options = [
        "task=segmentation", "data=phantom3d", "backbone=resnet3d_10", "backbone.weights=null",
        "strategy=ttl", "cutoff=block1", "data.image_size=[8,32,32]", "data.num_slices=12",
        "data.window_stride=null", "data.train_size=4", "data.val_size=2", "data.test_size=2",
        "data.balance=1.0", "protocol=3d_fast", "protocol.batch_size=2", "trainer.max_epochs=1",
        "trainer.accelerator=cpu", "trainer.precision=32-true", "latency=false",
    ]  # fmt: skip
    result = ttl.train(overrides=options, run_dir=tmp_path / "run")
    assert result.status == "completed"
    assert {"test/dice", "test/dice/embolism", "test/jaccard"} <= result.metrics.keys()
    for kind in ("gradcam", "transfer", "cross"):
        assert analyze(kind, [f"run={tmp_path / 'run'}", "device=cpu"])[0].rows


@pytest.mark.parametrize(
    ("override", "error", "text"),
    [
        ("data.tta=4", ConfigError, r"data\.tta=4 is for classes"),
        ("protocol.loss=hinge", ConfigError, r"protocol\.loss"),
        ("protocol.monitor=val/auprc", UnknownNameError, "Allowed: val/loss, val/dice"),
        ("protocol.head_init=probe", ConfigError, "is not for the task segmentation"),
        ("protocol.head_init=zero", ConfigError, "head_init=zero needs the linear head"),
        ("task.class_weights=[1,2]", ConfigError, "or 1 numbers, one for each class, got 2"),
        ("task.class_weights=even", ConfigError, "must be null, balanced, or a number"),
        ("task.head=linear", ConfigError, "gives no masks: task.head=unet does"),
    ],
)
def test_what_does_not_go_with_masks(
    override: str, error: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        ttl.train(overrides=[*SMALL, "strategy=ftl", override], run_dir=tmp_path / "run")


def test_a_source_without_masks_is_refused(tmp_path: Path) -> None:
    npz = tmp_path / "data.npz"
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.random.default_rng(len(split)).integers(
            0, 256, (4, 28, 28), np.uint8
        )
        arrays[f"{split}_labels"] = np.array([0, 1, 0, 1])
    np.savez(npz, **arrays)
    options = [o for o in SMALL if "_size=" not in o or "image" in o or "batch" in o]
    options += ["strategy=ftl", "data=npz", f"data.path={npz}"]
    with pytest.raises(DataError, match="data=npz has no masks, which task=segmentation learns"):
        ttl.train(overrides=options, run_dir=tmp_path / "run")


def test_masks_alone_are_no_classes(tmp_path: Path) -> None:
    from tests.data.sources.test_masks import folders

    options = ["backbone=test_resnet", "backbone.weights=null", "data=masks", "strategy=ftl"]
    path = folders(tmp_path / "data")
    with pytest.raises(DataError, match="have no classes to tell apart: choose task=segmentation"):
        ttl.train(overrides=[*options, f"data.path={path}"], run_dir=tmp_path / "run")


def test_what_can_be_analysed_of_masks(runs: Path) -> None:
    run = f"run={runs / 'ttl'}"
    findings, _ = analyze("gradcam", [run, "count=3", "device=cpu", f"others=[{runs / 'ftl'}]"])
    assert re.search(r"mean Dice 0\.\d{3} as the network sees them", findings.headline)
    assert {row["explained"] for row in findings.rows} == {"lungs"}
    with (runs / "ttl/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    worst = min(rows, key=lambda row: float(row["dice/lungs"]))
    shown = findings.rows[0]
    assert 1 - shown["missed"] == pytest.approx(float(worst["dice/lungs"]), abs=0.05)
    for kind in ("transfer", "cross"):
        assert analyze(kind, [run, "split=val", "device=cpu"])[0].rows
    with pytest.raises(ConfigError, match="the task segmentation has no classes of images"):
        analyze("probe", [run, "device=cpu"])


def test_no_probe_of_a_network_says_where_to_cut_for_masks() -> None:
    from ttl_lightning.config import compose
    from ttl_lightning.interpret.pretrained import probe

    spec = compose.typed(compose.read([*SMALL, "strategy=ftl"])[0])
    with pytest.raises(ConfigError, match="the task segmentation has no classes of images"):
        probe(spec)


def test_patients_of_a_table_are_in_predictions(tmp_path: Path) -> None:
    from tests.data.sources.test_masks import folders

    root = folders(tmp_path / "data", 12)
    rows = [f"images/{n}.png,masks/{n}.png,p{n // 2}" for n in range(12)]
    (root / "table.csv").write_text("\n".join(["image,mask,patient_id", *rows]))
    result = ttl.train(
        overrides=[
            "task=segmentation", "data=masks", f"data.path={root / 'table.csv'}", "strategy=ftl",
            "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "latency=false",
            "trainer.max_epochs=8", "protocol.learning_rate=0.01", "protocol.batch_size=4",
            "trainer.accelerator=cpu", "trainer.precision=32-true",
            "data.test_fraction=0.4",
        ],
        run_dir=tmp_path / "run",
    )  # fmt: skip
    with (tmp_path / "run/predictions.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert {row["patient"] for row in found} == {f"p{int(Path(r['id']).stem) // 2}" for r in found}
    dice = [float(row["dice/foreground"]) for row in found]
    table = MaskScores(
        np.arange(len(found)), {"dice": np.array(dice)[:, None]},
        *np.ones((2, len(found), 1), np.int64), np.zeros(len(found), bool),
    )  # fmt: skip
    expected = intervals(table, [row["patient"] for row in found])["dice"]
    assert expected != pytest.approx(intervals(table)["dice"], abs=1e-6)
    assert result.intervals["test/dice"] == pytest.approx(expected, abs=1e-6)
    sweep.write(tmp_path)
    assert (
        f"{len(found)} test samples of {len(found) // 2} patients"
        in (tmp_path / "table.md").read_text() + (tmp_path / "report.html").read_text()
    )
