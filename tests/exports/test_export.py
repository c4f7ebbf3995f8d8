"""Exports of small runs: each is loaded again by what its format is for, away from the run."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, DataError, TTLError
from ttl_lightning.exports import again
from ttl_lightning.exports import export as exporting
from ttl_lightning.exports.contract import contract_of
from ttl_lightning.exports.export import export
from ttl_lightning.exports.graph import Deployed
from ttl_lightning.exports.options import ExportOptions, LatencyOptions

RNG = np.random.default_rng(0)
TRAIN = ("trainer.max_epochs=1", "data.batch_size=8", "trainer.accelerator=cpu", "latency=false",
         "strategy=ttl", "cutoff=block2", "backbone=test_resnet",
         "backbone.weights=null")  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of colour images of several sizes, and a run on it."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 8), ("val", 4), ("test", 5)):
        for name in ("dark", "bright"):
            place = root / "data" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                values = RNG.integers(0, 120, (40 + number, 52, 3)) + 120 * (name == "bright")
                Image.fromarray(values.astype(np.uint8)).save(place / f"{number}.png")
    overrides = ["data=folder", f"data.path={root / 'data'}", "data.image_size=32", *TRAIN]
    ttl.train(overrides=overrides, run_dir=root / "run")
    return root


def test_the_graph_reads_an_image_as_the_evaluation_does(cut: Path) -> None:
    predictor = ttl.load(cut)
    contract = contract_of(predictor)
    stored = torch.rand(3, *contract.shape(inside=True))
    graph = Deployed(predictor.model, contract, inside=True)
    seen = graph.read @ stored @ graph.read.mT
    expected = predictor.preprocessing.evaluation(stored, [(0, n) for n in range(3)])
    np.testing.assert_allclose(
        (seen - graph.mean) / graph.std, expected, atol=3e-5
    )  # its positions are float32
    with torch.no_grad():
        found, wanted = graph(stored), predictor.model(expected).softmax(1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("view", ["train_scale", "whole", "center_crop"])
def test_each_view_is_a_matrix(cut: Path, view: str) -> None:
    from dataclasses import replace

    from ttl_lightning.data.views.evaluation import evaluation
    from ttl_lightning.exports.graph import reading

    predictor = ttl.load(cut)
    seen = predictor.preprocessing
    assert seen.view is not None
    assert seen.augment is not None
    how = evaluation(view, seen.augment, 32, seen.mean, seen.std)
    for stored in (37, 40, 51):
        factor, shift = how.place(stored)
        contract = replace(contract_of(predictor), stored=stored, factor=factor, shift=shift)
        image, matrix = torch.rand(2, 3, stored, stored), reading(contract)
        np.testing.assert_allclose(matrix @ image @ matrix.mT, how.read(image), atol=3e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors", "bundle", "timm"])
def test_each_format_says_what_the_run_does_in_a_new_process(kind, cut, full, tmp_path) -> None:
    run = full if kind == "timm" else cut
    said = export(ExportOptions(run=str(run), format=kind, output=str(tmp_path / "out")))
    assert re.fullmatch(r"largest difference from the run \d\.\d+e-\d+ on 16 images .*", said[0])
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert card["checked"]["largest_difference"] <= 1e-4
    assert (tmp_path / "out" / card["file"]).stat().st_size > 0
    assert card["classes"] == list(ttl.load(run).class_names)
    page = (tmp_path / "out/README.md").read_text()
    assert "not a medical device" in page
    assert f"{card['metrics']['test/auroc']:.4f}" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.slow
def test_the_pages_own_code_gives_the_runs_own_predictions(pictures: Path, tmp_path: Path) -> None:
    """The script of `README.md`, with onnxruntime and Pillow alone, on every test image."""
    export(ExportOptions(run=str(pictures / "run"), format="onnx", output=str(tmp_path / "out")))
    page = (tmp_path / "out/README.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    assert "ttl_lightning" not in code
    with (pictures / "run/predictions.csv").open(newline="") as file:
        table = [row for row in csv.DictReader(file) if row["split"] == "test"]
    names = ttl.load(pictures / "run").class_names
    for row in table[::3]:
        image = pictures / "data" / row["id"]
        script = tmp_path / "out/script.py"
        script.write_text(code.replace('"image.png"', repr(str(image))))
        done = subprocess.run(
            [sys.executable, script.name], cwd=script.parent, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        found = [float(value) for value in re.findall(r"\d\.\d+(?:e-\d+)?", done.stdout)]
        expected = [float(row[f"probability/{name}"]) for name in names]
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
def test_int8_says_what_it_changes(cut: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    said = export(
        ExportOptions(
            run=str(cut), format="onnx", quantize="int8", output=str(target), calibration=8
        )
    )
    changes = json.loads((target / "int8.json").read_text())
    before = json.loads((cut / "result.json").read_text())["metrics"]
    assert changes["auroc"]["before"] == pytest.approx(before["test/auroc"], abs=1e-6)
    assert any(line.startswith("  auroc: ") for line in said)
    session = onnxruntime.InferenceSession(target / "model.onnx")
    shape = session.get_inputs()[0].shape
    found = session.run(None, {"image": np.zeros((3, *shape[1:]), np.float32)})[0]
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)


def test_an_export_that_differs_is_not_kept(cut, tmp_path, monkeypatch) -> None:
    def off(folder: Path, inputs: np.ndarray) -> np.ndarray:
        assert (folder / "model.safetensors").is_file()
        return np.full((len(inputs), 2), 0.5)

    monkeypatch.setattr(again, "probabilities", off)
    options = ExportOptions(run=str(cut), format="safetensors", output=str(tmp_path / "a/b"))
    with pytest.raises(TTLError, match=r"more than 0\.0001, on 16 images"):
        export(options)
    assert not list(tmp_path.iterdir())


def test_an_export_that_is_there_stays(cut, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(exporting, "_compared", lambda *_, **__: exporting.card.Checked(0, 1, "x"))
    asked = {"run": str(cut), "format": "safetensors", "output": str(tmp_path / "out")}
    export(ExportOptions(**asked))
    before = (tmp_path / "out/card.json").read_bytes()
    with pytest.raises(ConfigError, match="overwrite=true replaces it"):
        export(ExportOptions(**asked))
    assert (tmp_path / "out/card.json").read_bytes() == before
    export(ExportOptions(**asked, overwrite=True))
    (tmp_path / "out/card.json").unlink()
    with pytest.raises(ConfigError, match="is no export"):
        export(ExportOptions(**asked, overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "which run"),
        ({"run": "x"}, "which format"),
        ({"run": "x", "format": "onxx"}, "did you mean 'onnx'"),
        ({"run": "x", "format": "timm", "preprocessing": "inside"}, "is for format=onnx and pt2"),
        ({"run": "x", "format": "pt2", "quantize": "int8"}, "is for format=onnx"),
        ({"run": "x", "format": "onnx", "quantize": "int4"}, "int8"),
        ({"run": "x", "format": "onnx", "quantize": "int8", "images": "y"}, "leave images out"),
        ({"run": "x", "format": "onnx", "calibration": 0}, "calibration"),
    ],
)
def test_mistakes_in_options(given: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ExportOptions(**given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "which run"),
        ({"run": "x", "engine": "tensorrt"}, "engine"),
        ({"run": "x", "batch": "0"}, "batch must be integers"),
        ({"run": "x", "threads": "a"}, "threads must be integers"),
        ({"run": "x", "engine": "torch", "quantize": "int8"}, "is for engine=onnx"),
    ],
)
def test_mistakes_in_what_to_time(given: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LatencyOptions(**given)


def test_what_cannot_be_exported(cut, pictures, tmp_path) -> None:
    to = {"output": str(tmp_path / "out")}
    with pytest.raises(ConfigError, match=r"has other layers than test_resnet .* cutoff=block2"):
        export(ExportOptions(run=str(cut), format="timm", **to))
    with pytest.raises(TTLError, match="cannot be read"):
        export(ExportOptions(run=str(tmp_path), format="onnx", **to))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there are no images in this folder"):
        export(ExportOptions(run=str(cut), format="onnx", images=str(tmp_path / "empty"), **to))
    with pytest.raises(DataError, match=r"Give data\.path=… where they have moved"):
        export(ExportOptions(run=str(pictures / "run"), format="pt2", **to), ["data.path=/nowhere"])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        export(ExportOptions(run=str(cut), format="onnx", output=str(tmp_path / "file/out")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
