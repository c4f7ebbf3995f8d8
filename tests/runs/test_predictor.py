"""A finished run, ready to predict."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml

import ttl_lightning as ttl
from ttl_lightning.data.options import ImageView
from ttl_lightning.errors import DataError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.open import OpenRun
from ttl_lightning.runs.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(cut: Path) -> Predictor:
    return ttl.load(cut)


def test_it_predicts_what_its_model_says(predictor: Predictor, open_cut: OpenRun) -> None:
    batch = next(open_cut.batches("test", most=4))
    with torch.no_grad():
        logits = open_cut.after(batch["image"])
        torch.testing.assert_close(predictor(batch["image"]), logits)
        got = predictor.predict_step(batch)["probabilities"]
    torch.testing.assert_close(got, logits.double().softmax(1), check_dtype=False)
    assert not any(module.training for module in predictor.modules())


def test_lightnings_trainer_takes_it_without_an_optimizer(
    predictor: Predictor, open_cut: OpenRun
) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet)
    found = trainer.predict(predictor, open_cut.data.test_dataloader())
    ids = torch.cat([batch["id"] for batch in found])
    assert ids.tolist() == list(range(len(open_cut.data.sample_ids("test"))))


def test_its_preprocessing_makes_the_images_that_evaluation_saw(
    predictor: Predictor, open_cut: OpenRun
) -> None:
    seen, data = predictor.preprocessing, open_cut.data
    assert (seen.image_size, seen.in_channels) == ((32, 32), 3)
    assert (seen.view, seen.augment, seen.reason) == (data.view, data.augment, "")
    assert isinstance(seen.view, ImageView)
    stored = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    keys = [(0, 0), (0, 1)]
    np.testing.assert_array_equal(seen.evaluation(stored, keys), data.evaluation(stored, keys))


def test_where_the_data_are_of_others_code_it_says_why_it_knows_no_view(
    cut: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(cut, folder)
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["data"]["_target_"] = "somebody.Else"
    path.write_text(yaml.safe_dump(content))
    seen = ttl.load(folder).preprocessing
    assert seen.view is seen.augment is None
    assert seen.mean == tuple(RunResult.load(cut).model["mean"])
    with pytest.raises(DataError, match=r"data\._target_ is somebody\.Else, which is not this"):
        _ = seen.evaluation
