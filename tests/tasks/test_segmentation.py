"""Segmentation from batches to scores, beside computations on the masks themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.inferers import sliding_window_inference
from scipy.ndimage import zoom
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from tests.data.making import data_of
from tests.data.views.test_masks import MadeStudies, boards, made, studies
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import ImageView
from ttl_lightning.data.sources.phantom import PhantomSource
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.tasks.masks import labelled, on_own_grid, reference_regions
from ttl_lightning.tasks.segmentation import SegmentationTask

SMALL = {"train_size": 24, "val_size": 6, "test_size": 7, "image_size": 32, "batch_size": 8}


class Bright(nn.Module):
    """Logits that are high where an image is bright; one weight and one bias to learn."""

    def __init__(self, outputs: int = 1, dims: int = 2, weight: float = 8.0) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.conv = conv(1, outputs, 1)
        nn.init.constant_(self.conv.weight, weight)
        nn.init.constant_(self.conv.bias, -weight / 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def param_groups(self, lr: float, pretrained_lr_factor: float) -> list[dict[str, Any]]:
        return [{"name": "head", "params": list(self.parameters()), "lr": lr}]


def trainer(**options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **options)


def task_of(data: DataModule, model: nn.Module, **options: Any) -> SegmentationTask:
    settings = SegmentationTask.settings(data, {"loss": "dice_ce", "focal_gamma": 2.0}, options)
    return SegmentationTask(model, optimizer=torch.optim.Adam, learning_rate=0.05, **settings)


def phantoms(**options: Any) -> DataModule:
    data = data_of(
        PhantomSource, masks=True, in_channels=1, mean=[0.0], std=[1.0],
        **{**SMALL, "eval_view": "whole", **options},
    )  # fmt: skip
    data.setup()
    return data


def test_lungs_are_learnt_and_scored() -> None:
    """Lungs are dark: one weight finds most of them."""
    data = phantoms()
    task = task_of(data, Bright(weight=-2.0))
    fit = trainer(max_epochs=8, num_sanity_val_steps=0)
    fit.fit(task, data)
    first = task.scores["val"].values
    assert {"dice", "dice/lungs", "jaccard", "loss"} <= first.keys()
    assert "hd95" not in first  # measured once training is over
    fit.validate(task, data, verbose=False)
    fit.test(task, data, verbose=False)
    assert task.scores["val"].values["dice"] == pytest.approx(first["dice"])
    assert task.scores["test"].values["dice"] > 0.6
    assert task.scores["test"].values["hd95"] > 0


def test_scores_are_of_the_image_s_own_grid() -> None:
    """Images of 97 x 60 pixels that the network sees as squares of 32."""
    data = made(*boards(97, 60), image_size=32, eval_view="whole", batch_size=2)
    task = task_of(data, Bright())
    trainer().test(task, data, verbose=False)
    table = task.predictions["test"]
    batch = next(iter(data.test_dataloader()))
    for n in range(2):
        reference = batch["reference"][n]
        seen = (batch["image"][n, 0] * 8 - 4).sigmoid().numpy()
        ours = zoom(seen, (97 / 32, 60 / 32), order=1, grid_mode=True, mode="nearest") > 0.5
        expected = f1_score(reference.ravel(), ours.ravel())
        assert table.values["dice"][n, 0] == pytest.approx(expected, abs=2e-3)
        assert table.reference[n, 0] == reference.sum()
        assert table.predicted[n, 0] == pytest.approx(ours.sum(), rel=5e-3)
    assert task.scores["test"].values["dice"] == pytest.approx(table.values["dice"].mean())


@pytest.mark.parametrize(
    ("regions", "overlap", "outputs"), [(2, False, 1), (4, False, 4), (3, True, 3)]
)
def test_outputs(regions: int, overlap: bool, outputs: int) -> None:
    class Data:
        pass

    data = Data()
    data.regions, data.overlap = tuple("abcd"[:regions]), overlap
    assert SegmentationTask.num_outputs(data) == outputs


def test_three_regions_that_exclude_each_other() -> None:
    images, masks = boards(40, 40)
    masks = [np.where(np.arange(40) < 20, 2 * mask, mask).astype(np.uint8) for mask in masks]
    data = made(images, masks, regions=("background", "right", "left"), image_size=40, batch_size=2)
    task = task_of(data, Bright(3), class_weights=[1.0, 2.0, 2.0])
    fit = trainer(max_epochs=1, num_sanity_val_steps=0)
    fit.fit(task, data)
    fit.test(task, data, verbose=False)
    assert {"dice/left", "dice/right"} <= task.scores["test"].values.keys()
    mean = np.mean([task.scores["test"].values[f"dice/{side}"] for side in ("left", "right")])
    assert task.scores["test"].values["dice"] == pytest.approx(mean)


def test_a_volume_is_seen_by_windows() -> None:
    images, masks = studies(6, (20, 13))
    data = made(
        images, masks, kind=MadeStudies, image_size=(8, 40, 40), hu_window=(0, 900),
        eval_view="whole", mm=(2.0, 1.0, 1.0),
    )  # fmt: skip
    model = Bright(dims=3)
    model.conv = nn.Conv3d(1, 1, 3, padding=1)
    task = task_of(data, model)
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        theirs = sliding_window_inference(
            batch["image"], (8, 40, 40), 1, model, overlap=0.5, mode="gaussian"
        )
        torch.testing.assert_close(task.outputs(batch), theirs)


def test_a_large_image_is_trained_by_patches_and_read_by_windows() -> None:
    data = phantoms(image_size=64, patch_size=32)
    task = task_of(data, Bright(1))
    assert task.window == (32, 32)
    assert next(iter(data.train_dataloader()))["image"].shape[2:] == (32, 32)
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape[2:] == (64, 64)
    with torch.no_grad():
        # what looks at each pixel alone sees the same in each window
        assert torch.allclose(task.outputs(batch), task(batch["image"]), atol=1e-5)
    trainer().test(task, data, verbose=False)
    assert task.scores["test"].values["dice"] is not None


def test_patches_are_for_masks_and_no_larger_than_images() -> None:
    with pytest.raises(ConfigError, match=r"data\.patch_size=32 is for task=segmentation"):
        ImageView(patch_size=32)
    with pytest.raises(ConfigError, match=r"data\.patch_size must be .* from 8 to 64, got 65"):
        ImageView(patch_size=65, masks=True)


def test_distances_of_volumes_are_in_millimetres() -> None:
    images, masks = studies(6, (20,))
    found = {}
    for mm in ((2.0, 1.0, 1.0), (4.0, 2.0, 2.0)):
        data = made(
            images, masks, kind=MadeStudies, image_size=(8, 40, 40), hu_window=(0, 2000),
            eval_view="whole", mm=mm,
        )  # fmt: skip
        task = task_of(data, Bright(dims=3))
        with torch.no_grad():
            task.model.conv.bias.fill_(-0.5)  # a margin around the ball
        trainer().test(task, data, verbose=False)
        found[mm] = task.scores["test"].values["asd"]
    assert found[(4.0, 2.0, 2.0)] == pytest.approx(2 * found[(2.0, 1.0, 1.0)])
    assert found[(2.0, 1.0, 1.0)] > 0


def test_reading_on_a_grid_is_linear_and_stops_at_the_view() -> None:
    shown = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.equal(on_own_grid(shown, same, (2, 2)), shown)
    four = on_own_grid(shown, same, (2, 4))[0, 0]
    assert four.tolist() == [0.0, 0.25, 0.75, 1.0]
    half = torch.tensor([[1.0, 0.0], [2.0, 0.0]])  # the view is the middle half of the columns
    assert on_own_grid(shown, half, (2, 4))[0, 1].tolist() == [0.0, 2.0, 3.0, 0.0]


def test_which_pixels_are_of_which_region() -> None:
    shown = torch.tensor([[0.5, 0.2, 0.0], [0.3, 0.7, 0.0], [0.2, 0.1, 0.0]])
    assert labelled(shown, exclusive=True).tolist() == [[False, True, False], [False] * 3]
    assert labelled(shown, exclusive=False)[0].tolist() == [False, False, False]
    mask = torch.tensor([0, 2, 255])
    found, known = reference_regions(mask, 2, overlap=False)
    assert found.tolist() == [[False] * 3, [False, True, False]]
    assert known.tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"loss": "dise"}, UnknownNameError, "unknown protocol.loss 'dise'; did you mean 'dice'"),
        ({"class_weights": [1.0, 2.0]}, ConfigError, r"task\.class_weights must be .* 1 numbers"),
        ({"monitor": "val/dice/lung"}, UnknownNameError, "did you mean 'val/dice/lungs'"),
        ({"monitor": "val/hd95"}, UnknownNameError, "unknown protocol.monitor 'val/hd95'"),
    ],
)
def test_mistakes(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        SegmentationTask(Bright(), regions=("lungs",), **options)


def test_balanced_weights_are_of_training_pixels() -> None:
    protocol = {"loss": "dice_ce", "focal_gamma": 2.0}
    data = phantoms()
    references = [m for batch in data.plain_dataloader("train") for m in batch["reference"]]
    lungs = np.concatenate([mask.ravel() for mask in references]).mean()
    (found,) = SegmentationTask.settings(data, protocol, {"class_weights": "balanced"})[
        "class_weights"
    ]
    assert found == pytest.approx((1 - lungs) / lungs)
    three = SimpleNamespace(
        regions=("background", "a", "b"), overlap=False, view=data.view,
        pixel_counts=lambda: np.array([[60, 40], [30, 70], [10, 90]]),
    )  # fmt: skip
    found = SegmentationTask.settings(three, protocol, {"class_weights": "balanced"})
    values = np.repeat([0, 1, 2], [60, 30, 10])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=values)
    assert found["class_weights"] == pytest.approx(expected.tolist())


def test_of_a_long_volume_the_window_about_the_mask_is_shown() -> None:
    task = SegmentationTask(Bright(1), regions=("a",), window=(4, 8, 8))
    mask = torch.zeros(20, 8, 8, dtype=torch.uint8)
    mask[17, 2:5] = 1
    image = torch.arange(20.0).reshape(1, 20, 1, 1).expand(1, 20, 8, 8)
    kept = task.excerpt({"image": image[None], "mask": mask[None], "id": torch.tensor([3])})
    assert kept["image"][0, 0, :, 0, 0].tolist() == [15, 16, 17, 18]
    assert kept["mask"][0].any(2).any(1).tolist() == [False, False, True, False]


def test_an_image_without_a_region_is_judged_to_have_none() -> None:
    task = SegmentationTask(Bright(1), regions=("a",))
    masks = torch.zeros(3, 4, 4, dtype=torch.uint8)
    masks[1:, :2] = 1
    logits = torch.full((3, 1, 4, 4), -9.0)
    logits[1, :, :1] = 9.0
    found = task.judged(logits, {"mask": masks})
    assert found.named(found.true) == ["none", "a", "a"]
    assert found.named(found.predicted) == ["none", "a", "none"]
    assert found.missed.tolist() == pytest.approx([0, 1 - 2 * 4 / (4 + 8), 1])
    three = SegmentationTask(Bright(3), regions=("a", "b"))
    masks[2, 2:] = 2
    masks[2, 2, 0] = 1
    logits = torch.zeros(3, 3, 4, 4)
    logits[:, 0], logits[2, 2, :3] = 1.0, 5.0
    found = three.judged(logits, {"mask": masks})
    assert found.names == ("background", "a", "b")
    assert found.named(found.true) == ["none", "a", "a"]
    assert found.named(found.predicted) == ["none", "none", "b"]
