from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import ttl_lightning as ttl
from ttl_lightning.cli.analyze import analyze
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.interpret.commands.gradcam import Options, explain, most_wrong, report
from ttl_lightning.interpret.gradcam import grad_cam
from ttl_lightning.runs.open import OpenRun, open_run


def written(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open() as table:
        return [row for row in csv.DictReader(table) if row["split"] == "test"]


def test_the_most_wrong_first(open_cut: OpenRun, cut: Path) -> None:
    rows = written(cut)
    missed = [1 - float(row[f"probability/{row['label']}"]) for row in rows]
    expected = np.argsort(-np.array(missed), kind="stable")[:5]
    assert most_wrong(open_cut, "test", 5) == expected.tolist()


def test_what_is_explained(open_cut: OpenRun, cut: Path) -> None:
    positions = [7, 2]
    found = explain(open_cut, positions, Options("test", target="true", unit="block1"))
    rows = written(cut)
    assert found.names == [rows[7]["id"], rows[2]["id"]]
    names = open_cut.data.class_names
    for place, target, probability in zip(
        positions, found.targets, found.probabilities, strict=True
    ):
        assert names[int(target)] == rows[place]["label"]
        column = f"probability/{rows[place]['label']}"
        assert float(probability) == pytest.approx(float(rows[place][column]), rel=1e-4)
    batch = torch.cat([batch["image"] for batch in open_cut.batches("test")])[positions]
    heat = grad_cam(open_cut.after, batch, found.targets.tolist(), "block1")
    torch.testing.assert_close(found.heat, heat)
    assert found.images.shape == found.heat.shape == (2, 32, 32)
    with torch.no_grad():
        assert found.places == open_cut.after.backbone.truncated("block1")(batch).shape[2:]
    assert 0 <= found.images.min() < found.images.max() <= 1


@pytest.mark.slow
def test_runs_side_by_side(full: Path, cut: Path) -> None:
    findings, files = analyze(
        "gradcam", [f"run={full}", f"others=[{cut}]", "ids=[test/3,test/0]", "device=cpu"]
    )
    assert [row["id"] for row in findings.rows] == ["test/3", "test/0"] * 2
    assert [row["run"] for row in findings.rows] == [str(full)] * 2 + [str(cut)] * 2
    assert [path.name for path in files[-3:]] == ["gradcam.png", "gradcam.pdf", "gradcam.svg"]
    assert len(findings.figures[""].axes) == 7  # the last says what the colours mean


def test_a_map_of_one_place_is_said_to_be_blind(full: Path, monkeypatch) -> None:
    monkeypatch.setattr("ttl_lightning.interpret.commands.gradcam._map_size", lambda *_: (1, 1))
    findings, _ = analyze("gradcam", [f"run={full}", "ids=[test/3]", "device=cpu"])
    assert findings.headline.endswith(f" A map of one place does not say where: {full}.")
    titles = [axes.get_title() for axes in findings.figures[""].axes]
    assert titles[1].startswith("ftl, map 1 × 1\n")


def test_no_more_than_there_are(open_cut: OpenRun) -> None:
    assert len(report(open_cut, Options(select="first", count=64)).rows) == 24


def test_mistakes(open_cut: OpenRun) -> None:
    for options, kind, text in (
        (Options(ids=["test/99"]), UnknownNameError, "test sample 'test/99'"),
        (Options(select="worst"), UnknownNameError, "select"),
        (Options(target="both"), UnknownNameError, "target"),
        (Options(count=0), ConfigError, "count"),
    ):
        with pytest.raises(kind, match=text):
            report(open_cut, options)


@pytest.mark.slow
def test_of_a_volume_the_window_with_the_highest_score(tmp_path: Path) -> None:
    ttl.train(
        overrides=[
            "data=phantom3d", "backbone=resnet3d_10", "protocol=3d_fast", "strategy=ttl",
            "cutoff=stem", "data.image_size=[8,24,24]", "data.num_slices=14",
            "data.train_size=6", "data.val_size=6", "data.test_size=6", "data.window_stride=3",
            "data.in_channels=1", "trainer.max_epochs=1", "trainer.precision=32-true",
        ],
        run_dir=tmp_path,
    )  # fmt: skip
    run = open_run(tmp_path, device="cpu")
    findings = report(run, Options(ids=["test/4"]))
    (row,) = findings.rows
    (expected,) = [line for line in written(tmp_path) if line["id"] == "test/4"]
    shown = row["probability"] if row["explained"] == "embolism" else 1 - row["probability"]
    assert shown == pytest.approx(float(expected["probability/embolism"]), rel=1e-4)
    panels = findings.figures[""].axes
    assert len(panels) == 3  # the last says what the colours mean
    assert re.match(r"test/4, slice [1-8]\n", panels[0].get_title())
