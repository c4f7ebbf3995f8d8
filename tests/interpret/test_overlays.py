"""Pictures of where a run looks, of files that it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ttl_lightning as ttl
from ttl_lightning.data.inputs import find_inputs
from ttl_lightning.errors import ConfigError
from ttl_lightning.interpret.gradcam import grad_cam
from ttl_lightning.interpret.overlays import explained, overlay, write_overlays

RNG = np.random.default_rng(0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "in/deeper").mkdir(parents=True)
    for name in ("a", "deeper/b"):
        values = RNG.integers(0, 255, (40, 44), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    return tmp_path / "in"


def test_the_predicted_class_is_explained(cut: Path, images: Path) -> None:
    predictor = ttl.load(cut)
    inputs = find_inputs([str(images)], volumes=False)
    found = list(explained(predictor, inputs))
    answer = predictor.predict(str(images))
    assert [one.name for one in found] == list(answer.ids) == ["a.png", "deeper/b.png"]
    for one, row in zip(found, answer.probabilities, strict=True):
        assert one.said == f"{predictor.class_names[row.argmax()]}: {row.max():.3f}"
    # beside a map of the picture as it was prepared by hand
    seen = predictor.preprocessing
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (seen.mean, seen.std))
    prepared = (found[0].image.expand(3, -1, -1) - mean) / std
    heat = grad_cam(predictor.model, prepared[None], int(answer.probabilities[0].argmax()))
    np.testing.assert_allclose(found[0].heat, heat[0], atol=2e-3)
    panels = overlay(found[0]).axes
    assert panels[-1].get_ylabel().startswith("heat")


def test_files_are_written_once(cut: Path, images: Path, tmp_path: Path) -> None:
    predictor, inputs = ttl.load(cut), find_inputs([str(images)], volumes=False)
    assert write_overlays(predictor, inputs, tmp_path / "out") == 2
    assert (tmp_path / "out/deeper/b.png.png").is_file()
    assert write_overlays(predictor, inputs, tmp_path / "out") == 0
    (tmp_path / "out/a.png.png").unlink()
    assert write_overlays(predictor, inputs, tmp_path / "out") == 1


def test_a_run_without_classes_is_refused(cut: Path, images: Path, tmp_path, monkeypatch) -> None:
    predictor = ttl.load(cut)
    monkeypatch.setattr(type(predictor.task), "has_classes", False)
    with pytest.raises(ConfigError, match="gradcam=true explains classes"):
        write_overlays(predictor, find_inputs([str(images)], volumes=False), tmp_path / "out")
