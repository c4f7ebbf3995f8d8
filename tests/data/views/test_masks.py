"""Masks go where their images go, and their pixels are found again on the image's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.making import data_of
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.samples import IGNORED, Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.phantom import PhantomSource
from ttl_lightning.data.sources.phantom3d import Phantom3dSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.tasks.masks import on_own_grid

PLAIN = {"mean": [0.0], "std": [1.0], "in_channels": 1, "masks": True}
TURNED = Augment(rotation_degrees=20, crop_scale=(0.5, 1.0))


class Given:
    """A reader of arrays of any sizes."""

    decoders = 1

    def __init__(self, arrays: Sequence[np.ndarray], mm: tuple[float, ...] | None = None) -> None:
        self.arrays, self.mm = arrays, mm

    def __len__(self) -> int:
        return len(self.arrays)

    def read(self, row: int) -> Reading:
        found = Reading(self.arrays[row])
        return found._replace(spacing_mm=self.mm) if self.mm else found

    def fingerprint(self, row: int) -> str:
        return str(row)


@dataclass(frozen=True, kw_only=True)
class Made(Source):
    """Whatever the test made: six images and masks, two a split."""

    name: str = "made"
    images: Any = None
    masks_: Any = None
    regions: Sequence[str] = ("background", "board")
    overlap: bool = False

    def load(self, side: int) -> Samples:
        del side
        return Samples(
            ids=tuple(f"i{n}" for n in range(len(self.images.arrays))),
            labels=np.zeros(len(self.images.arrays), np.int64),
            splits=np.repeat(["train", "val", "test"], len(self.images.arrays) // 3),
            class_names=("image",),
            reader=self.images,
            masks=self.masks_,
            regions=tuple(self.regions),
            overlap=self.overlap,
        )


@dataclass(frozen=True, kw_only=True)
class MadeStudies(Made):
    view = WindowView


def board(height: int, width: int, cell: int = 9, shift: int = 0) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return (((rows + shift) // cell + (columns + 2 * shift) // cell) % 2).astype(np.uint8)


def made(images: list[np.ndarray], masks: list[np.ndarray], **options: Any) -> DataModule:
    kind = options.pop("kind", Made)
    mm = options.pop("mm", None)
    data = data_of(kind, images=Given(images), masks_=Given(masks, mm), **{**PLAIN, **options})
    data.setup()
    return data


def boards(height: int, width: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    masks = [board(height, width, shift=n)[None] for n in range(6)]
    return [mask * np.uint8(255) for mask in masks], masks


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(97, 60), (50, 81), (64, 64)])
def test_masks_lie_on_their_images(fit: str, training: bool, size: tuple[int, int]) -> None:
    data = made(*boards(*size), fit=fit, image_size=96, augment=TURNED, batch_size=2)
    batch = next(iter(data.train_dataloader() if training else data.val_dataloader()))
    image, mask = batch["image"][:, 0], batch["mask"]
    assert mask.shape == image.shape
    sure = (image < 0.1) | (image > 0.9)  # not where two fields meet
    assert sure.float().mean() > 0.4
    assert ((image > 0.5) == mask.bool())[sure].float().mean() > 0.995
    assert "reference" not in batch if training else "reference" in batch


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("view", ["whole", "train_scale", "center_crop"])
@pytest.mark.parametrize("size", [(90, 61), (40, 75), (64, 64)])
def test_every_pixel_is_found_again(fit: str, view: str, size: tuple[int, int]) -> None:
    """An image of its own coordinates, seen by the network and read back, is itself."""
    rows, columns = np.indices(size)
    ramps = [rows / size[0], columns / size[1]]
    images = [np.uint16(1 + n + 65000 * ramps[n % 2])[None] for n in range(6)]
    data = made(
        images, boards(*size)[1], fit=fit, eval_view=view, image_size=64, batch_size=2,
        augment=Augment(resize_factor=73 / 64),
    )  # fmt: skip
    batch = next(iter(data.val_dataloader()))
    for n in range(len(batch["image"])):
        back = on_own_grid(batch["image"][n], batch["place"][n], size)[0]
        truth = torch.from_numpy(images[2 + n].astype(np.float32) / 65535)[0]
        seen = back > 0
        inner = torch.zeros_like(seen)
        inner[3:-3, 3:-3] = True
        if fit != "crop" and view == "whole":
            assert seen[inner].all()
        edge = torch.nn.functional.max_pool2d(1 - seen[None].float(), 7, 1, 3)[0] == 0
        assert (back - truth).abs()[inner & edge].max() < 0.006


def test_what_is_ignored_stays_so() -> None:
    images, masks = boards(64, 64)
    masks = [np.where(np.arange(64) < 20, IGNORED, mask).astype(np.uint8) for mask in masks]
    data = made(images, masks, image_size=64, batch_size=2, eval_view="whole")
    batch = next(iter(data.val_dataloader()))
    assert set(batch["mask"].unique().tolist()) == {0, 1, IGNORED}
    assert (batch["mask"] == IGNORED).float().mean() == pytest.approx(20 / 64, abs=0.02)


def test_masks_that_overlap() -> None:
    images, masks = boards(64, 64)
    masks = [np.concatenate([mask, np.ones_like(mask)]) for mask in masks]
    data = made(images, masks, regions=("board", "all"), overlap=True, image_size=64, batch_size=2)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape == (2, 2, 64, 64)
    assert batch["mask"][:, 1].all()
    assert batch["reference"][0].shape == (2, 64, 64)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda masks: masks[3][:, :-1], "masks must be as large as their images, and are not: "
         "'i3 (63 × 64 pixels of an image of 64 × 64)'."),
        (lambda masks: 0 * masks[3], None),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit(spoil: Any, text: str | None) -> None:
    images, masks = boards(64, 64)
    masks[3] = spoil(masks)
    if text is None:
        made(images, masks, image_size=64)
        return
    with pytest.raises(DataError) as caught:
        made(images, masks, image_size=64)
    assert str(caught.value) == text


def test_masks_that_mark_nothing() -> None:
    images, masks = boards(64, 64)
    empty = [0 * mask for mask in masks]
    with pytest.raises(DataError, match="no training mask marks anything"):
        made(images, empty, image_size=64)
    with pytest.raises(DataError, match="no training mask has a pixel of class 'other'"):
        made(images, masks, image_size=64, regions=("background", "board", "other"))


def test_several_views_are_for_classes() -> None:
    with pytest.raises(ConfigError, match=r"data\.tta=4 is for classes"):
        data_of(PhantomSource, masks=True, tta=4)


def test_a_source_without_masks_is_refused() -> None:
    images, _ = boards(64, 64)
    data = data_of(Made, images=Given(images), **{**PLAIN, "image_size": 64})
    with pytest.raises(DataError, match="data=made has no masks, which task=segmentation learns"):
        data.setup()


def test_phantoms_lungs_and_lesions() -> None:
    sizes = {"train_size": 12, "val_size": 4, "test_size": 4, "image_size": 48, "batch_size": 4}
    for region in ("lungs", "lesions"):
        data = data_of(PhantomSource, region=region, **sizes, **PLAIN, eval_view="whole")
        data.setup()
        assert data.regions == ("background", region)
        batch = next(iter(data.val_dataloader()))
        marked = [mask.any() for mask in batch["mask"]]
        assert all(marked) if region == "lungs" else marked == batch["label"].bool().tolist()


def studies(count: int, slices: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A ball in each, at another place."""
    images, masks = [], []
    for n in range(count):
        z, y, x = np.indices((slices[n % len(slices)], 40, 30))
        ball = (z - 6 - n % 3) ** 2 + (y - 18) ** 2 + (x - 12 - n) ** 2 < 16
        masks.append(ball.astype(np.uint8))
        images.append((ball * 900 + n).astype(np.int16))
    return images, masks


def test_windows_of_studies_have_their_masks() -> None:
    images, masks = studies(6, (20,))
    data = made(
        images, masks, kind=MadeStudies, image_size=(8, 48, 48), windows_per_study=8,
        hu_window=(0, 900), batch_size=16, augment=TURNED,
    )  # fmt: skip
    batch = next(iter(data.train_dataloader()))
    image, mask = batch["image"][:, 0], batch["mask"]
    assert mask.shape == (16, 8, 48, 48)
    sure = (image < 0.1) | (image > 0.9)
    assert ((image > 0.5) == mask.bool())[sure].float().mean() > 0.995
    assert mask.flatten(1).any(1).float().mean() > 0.6  # half about the ball, others by chance


@pytest.mark.parametrize("slices", [(20, 13), (7,)])
def test_evaluation_sees_whole_studies(slices: Sequence[int]) -> None:
    """Of any number of slices, black beyond the end of those shorter than a window."""
    images, masks = studies(6, slices)
    data = made(
        images, masks, kind=MadeStudies, image_size=(8, 48, 48), hu_window=(0, 900),
        eval_view="whole", batch_size=4, mm=(2.0, 1.0, 0.5),
    )  # fmt: skip
    for n, batch in enumerate(data.test_dataloader(), 4):
        count = len(masks[n])
        assert batch["image"].shape == (1, 1, max(count, 8), 48, 48)
        assert np.array_equal(batch["reference"][0], masks[n])
        assert batch["spacing"] == [(2.0, 1.0, 0.5)]
        back = on_own_grid(batch["image"][0], batch["place"][0], masks[n].shape)[0] > 0.5
        truth = torch.from_numpy(masks[n]).bool()
        assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.9


def test_a_mask_has_as_many_slices_as_its_volume() -> None:
    images, masks = studies(6, (20,))
    masks[1] = masks[1][:-2]
    with pytest.raises(DataError, match="the mask of 'i1' has 18 slices, its volume 20"):
        made(images, masks, kind=MadeStudies, image_size=(8, 48, 48), hu_window=(0, 900))


@pytest.mark.slow
def test_drawn_volumes() -> None:
    options = {"train_size": 4, "val_size": 2, "test_size": 2, "image_size": (8, 32, 32)}
    data = data_of(
        Phantom3dSource, **options, **PLAIN, num_slices=12, window_stride=None, balance=1.0
    )
    data.setup()
    assert data.regions == ("background", "embolism")
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape == (1, 12, 32, 32)
    assert batch["mask"].any()
    assert batch["spacing"] == [None]
