"""Whole runs on volumes: what holds for images holds for them, and a study has one prediction."""

from __future__ import annotations

import csv
import html
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score

import ttl_lightning as ttl
from tests.data.make_volumes import write_nifti, write_series
from ttl_lightning.config import compose as config
from ttl_lightning.data.phantoms.volumes import draw_volume
from ttl_lightning.errors import ConfigError
from ttl_lightning.metrics.class_predictions import PROBABILITY
from ttl_lightning.records.stem import stem_note
from ttl_lightning.runs.build import create_data

SMALL = [
    "data=phantom3d", "backbone=resnet3d_10", "protocol=3d_fast", "data.image_size=[8,24,24]",
    "data.num_slices=12", "data.train_size=8", "data.val_size=6", "data.test_size=6",
    "data.window_stride=4", "data.batch_size=4", "data.in_channels=1", "trainer.max_epochs=1",
    "trainer.accelerator=cpu", "trainer.precision=32-true",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("run")
    overrides = [*SMALL, "strategy=ttl", "cutoff=block2"]
    return folder, ttl.train(overrides=overrides, run_dir=folder)


def test_a_run_on_volumes(finished) -> None:
    folder, result = finished
    assert (result.status, result.data, result.cutoff) == ("completed", "phantom3d", "block2.1")
    cost = json.loads((folder / "result.json").read_text())["complexity"]
    assert cost["input_size"] == [1, 8, 24, 24]
    assert list(cost["macs_by_unit"]) == ["stem", "block1.1", "block2.1", "head"]
    assert sum(cost["macs_by_unit"].values()) == cost["macs"] < cost["untruncated"]["macs"]


@pytest.mark.slow
def test_views_are_averaged_for_each_window_before_its_study(finished, tmp_path) -> None:
    _, plain = finished
    result = ttl.train(
        overrides=[*SMALL, "strategy=ttl", "cutoff=block2", "data.tta=3"], run_dir=tmp_path
    )
    assert result.metrics["val/auroc"] == plain.metrics["val/auroc"]
    task, cfg = ttl.load(tmp_path), OmegaConf.load(tmp_path / "config.yaml")
    data = create_data(config.typed(cfg).recipe)
    data.setup()
    highest: dict[int, float] = {}
    for batch in data.test_dataloader():
        for views, study in zip(batch["views"], batch["study"].tolist(), strict=True):
            scores = task(views).detach().double().softmax(1)[:, 1]
            highest[study] = max(highest.get(study, 0), float(scores.mean()))
    with (tmp_path / "predictions.csv").open() as file:
        told = [row for row in csv.DictReader(file) if row["split"] == "test"]
    got = [float(row[f"{PROBABILITY}embolism"]) for row in told]
    np.testing.assert_allclose(got, [highest[i] for i in range(6)], atol=1e-6)


@pytest.mark.slow
def test_a_study_has_the_highest_score_of_its_windows(finished) -> None:
    folder, result = finished
    task = ttl.load(folder)
    cfg = OmegaConf.load(folder / "config.yaml")
    data = create_data(config.typed(cfg).recipe)
    data.setup()
    highest: dict[int, float] = {}
    for batch in data.test_dataloader():
        scores = task(batch["image"]).detach().double().softmax(1)[:, 1]
        for study, score in zip(batch["study"].tolist(), scores.tolist(), strict=True):
            highest[study] = max(highest.get(study, 0), score)
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert [row["id"] for row in rows] == data.sample_ids("test")
    written = [float(row[PROBABILITY + data.class_names[1]]) for row in rows]
    np.testing.assert_allclose(written, list(highest.values()), rtol=1e-4)
    truth = data.labels("test")
    assert [row["label"] for row in rows] == [data.class_names[label] for label in truth]
    assert result.metrics["test/auroc"] == pytest.approx(roc_auc_score(truth, written))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["data=phantom3d", "backbone=resnet18"], r"takes images, .* choose a 3D backbone such as"),
        (
            ["backbone=resnet3d_10"],
            r"takes volumes, .*: choose data=volumes, data=npz3d or data=phantom3d",
        ),
        (
            [*SMALL[:2], "strategy=ftl", "trainer.precision=bf16-mixed", "trainer.accelerator=cpu"],
            r"gives wrong gradients for backbone\.net\.conv1 on a CPU: use 32-true or auto",
        ),
        (["protocol.loss=focale"], r"protocol\.loss .*did you mean 'focal'"),
        (["protocol.pretrained_lr_factor=0"], r"protocol\.pretrained_lr_factor must be a number"),
        (["trainer.batch_size_finder=pow"], r"trainer\.batch_size_finder .*mean 'power'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(
    tmp_path: Path, overrides: list[str], text: str
) -> None:
    overrides = [*overrides, "backbone.weights=null"]
    with pytest.raises(ConfigError, match=text) as caught:
        ttl.train(overrides=overrides, run_dir=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_fitted_batch_is_recorded_and_kept(tmp_path: Path) -> None:
    found = ["trainer.batch_size_finder=power", "strategy=ttl", "cutoff=stem", "until_epoch=1"]
    overrides = [*SMALL, *found, "trainer.max_epochs=2"]
    result = ttl.train(overrides=overrides, run_dir=tmp_path)
    assert (result.status, result.train["batch_size"]) == ("paused", 16)  # all windows there are
    overrides.remove("until_epoch=1")
    content = json.loads((tmp_path / "result.json").read_text())
    content["train"]["batch_size"] = 5  # no power of two: it can only have been kept
    (tmp_path / "result.json").write_text(json.dumps(content))
    result = ttl.train(overrides=overrides, run_dir=tmp_path)
    assert (result.status, result.train["batch_size"]) == ("completed", 5)


STUDIES = 8


@pytest.mark.slow
def test_dicom_series_and_nifti_files_of_the_same_studies_give_the_same_model(
    tmp_path: Path,
) -> None:
    rows = ["study,label,split,patient_id,abnormal_slices"]
    for number in range(STUDIES):
        volume = draw_volume(number, (10, 26, 26), 0.0)
        write_series(tmp_path / "dicom" / f"study{number}", volume.voxels, axes="IPL")
        (tmp_path / "nifti").mkdir(exist_ok=True)
        write_nifti(tmp_path / "nifti" / f"study{number}.nii.gz", volume.voxels, axes="LAS")
        split = ("train", "train", "val", "test")[number // 2]
        slices = " ".join(map(str, np.flatnonzero(volume.lesion_mask.any((1, 2)))))
        rows.append(f"study{number},{volume.label},{split},p{number},{slices}")
    predicted = {}
    for kind in ("dicom", "nifti"):
        (tmp_path / kind / "labels.csv").write_text("\n".join(rows) + "\n")
        source = [
            "data=volumes",
            f"data.path={tmp_path / kind}",
            f"data.cache_dir={tmp_path / kind}",
        ]
        size = ["data.image_size=[8,24,24]", "data.batch_size=4", "data.in_channels=1"]
        options = ["backbone=resnet3d_10", "protocol=3d_fast", "strategy=ttl", "cutoff=block1"]
        run = tmp_path / f"run_{kind}"
        ttl.train(overrides=[*source, *size, *options, *SMALL[-3:]], run_dir=run)
        predicted[kind] = (run / "predictions.csv").read_text()
    assert predicted["dicom"] == predicted["nifti"]
    assert predicted["dicom"].count("\n") == 1 + 4


@pytest.mark.slow
def test_a_search_of_the_cutoff_in_three_dimensions(tmp_path: Path) -> None:
    options = ["-m", *SMALL, "hydra/sweeper=hierarchical", "strategy=ftl,ttl"]
    done = subprocess.run(
        [sys.executable, "-m", "ttl_lightning", *options],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / "multirun" / "default"
    cutoffs = {path.parent.parent.name for path in sweep.rglob("ttl/*/seed0/result.json")}
    assert {"block1.1", "block2.1", "block3.1", "block4.1"} <= cutoffs
    results = [json.loads(path.read_text()) for path in sweep.rglob("result.json")]
    assert {result["status"] for result in results} == {"completed"}
    assert all(result["complexity"]["input_size"] == [1, 8, 24, 24] for result in results)
    notes = {r["cutoff"]: stem_note(r["complexity"]) for r in results if r["strategy"] == "ttl"}
    assert "the stem, which every cutoff keeps" in notes["block2.1"]
    (search,) = json.loads((sweep / "search.json").read_text())["searches"]
    page = (sweep / "report.html").read_text()
    assert html.escape(notes[search["choice"]]).replace(" %", "&nbsp;%") in page


@pytest.mark.parametrize("backbone", ["resnet18", "resnet3d_10"])
def test_weights_that_are_a_number_are_named(tmp_path: Path, backbone: str) -> None:
    data = SMALL if backbone == "resnet3d_10" else []
    overrides = [*data, f"backbone={backbone}", "backbone.weights=5"]
    with pytest.raises(ConfigError, match=r"^backbone\.weights must be a text, got the number 5"):
        ttl.train(overrides=overrides, run_dir=tmp_path / "run")
