from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from ttl_lightning.data.options import EVAL_VIEWS
from ttl_lightning.data.transforms import (
    Augment,
    TrainTransform,
    draw_warps,
    normalize,
    uniforms,
    warp,
)
from ttl_lightning.data.views.evaluation import evaluation
from ttl_lightning.errors import ConfigError

STILL = Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0)
IMAGES = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(0))
KEYS = [(0, i) for i in range(5)]


def test_no_variation_is_the_identity() -> None:
    torch.testing.assert_close(warp(IMAGES, draw_warps(STILL, 0, KEYS), 24), IMAGES)


def test_flip_is_exact() -> None:
    flip = Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 1.0)
    torch.testing.assert_close(warp(IMAGES, draw_warps(flip, 0, KEYS), 24), IMAGES.flip(-1))


def test_rotation_agrees_with_torchvision() -> None:
    angle = np.radians(10)
    turn = np.array([[[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]])
    ours = warp(IMAGES[:1], turn.astype(np.float32), 24)
    theirs = tv.rotate(IMAGES[:1], 10, interpolation=tv.InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_crop_agrees_with_torchvision_within_its_border() -> None:
    left_upper = np.array([[[0.5, 0, -0.5], [0, 0.5, -0.5]]], np.float32)
    ours = warp(IMAGES[:1], left_upper, 36)
    theirs = tv.resized_crop(IMAGES[:1], 0, 0, 12, 12, [36, 36], antialias=False)
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_crops_lie_within_the_image_and_have_the_area_asked_for() -> None:
    augment = Augment(1.0, (0.3, 0.6), (0.8, 1.25), 0.0, 0.5)
    warps = draw_warps(augment, 1, [(0, i) for i in range(2000)])
    width, height = np.abs(warps[:, 0, 0]), warps[:, 1, 1]
    assert (np.abs(warps[:, 0, 2]) <= 1 - width + 1e-6).all()
    assert (np.abs(warps[:, 1, 2]) <= 1 - height + 1e-6).all()
    area, ratio = width * height, width / height
    assert 0.3 <= area.min() < 0.31
    assert 0.59 < area.max() <= 0.6 + 1e-6
    assert 0.8 - 1e-6 <= ratio.min() < 0.81
    assert 1.24 < ratio.max() < 1.25 + 1e-6
    assert abs((warps[:, 0, 0] < 0).mean() - 0.5) < 0.05


def test_rotations_stay_within_their_limit() -> None:
    warps = draw_warps(
        Augment(rotation_degrees=7.0, horizontal_flip=0), 1, [(0, i) for i in range(500)]
    )
    angles = np.degrees(np.arctan2(warps[:, 1, 0], warps[:, 0, 0]))
    assert 6.8 < np.abs(angles).max() <= 7.0
    assert abs(angles.mean()) < 0.7


def test_patches_are_parts_of_the_image_at_its_own_scale() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images = torch.stack([rows, columns])[None].expand(200, -1, -1, -1) / 32
    transform = TrainTransform(STILL, 32, (0.0, 0.0), (1.0, 1.0), seed=3, patch=8)
    keys = [(0, index) for index in range(200)]
    seen = transform(images, keys) * 32
    assert seen.shape == (200, 2, 8, 8)
    down, across = seen[:, 0].diff(dim=1), seen[:, 1].diff(dim=2)
    assert torch.allclose(down, torch.ones(()), atol=1e-3)
    assert torch.allclose(across, torch.ones(()), atol=1e-3)
    for axis in (0, 1):  # anywhere between the borders, and never beyond them
        firsts = seen[:, axis, 0, 0]
        assert 0 <= firsts.min() < 1.5
        assert 22.5 < firsts.max() <= 24
    masks = transform.masks((images * 32).round().to(torch.uint8), keys)
    assert (masks.float() - seen).abs().max() <= 0.5 + 1e-3


def test_a_patch_lies_in_its_warped_image() -> None:
    augment = Augment()
    images = torch.rand(6, 1, 40, 40).repeat_interleave(2, 2).repeat_interleave(2, 3)
    keys = [(0, index) for index in range(6)]
    whole = TrainTransform(augment, 64, (0.0,), (1.0,), seed=1)(images, keys)
    parts = TrainTransform(augment, 64, (0.0,), (1.0,), seed=1, patch=16)(images, keys)
    for image, part in zip(whole, parts, strict=True):
        windows = image.unfold(1, 16, 1).unfold(2, 16, 1)[0]
        error = (windows - part[0]).abs().mean((2, 3)).min()
        # half a pixel off one of its windows, and far off the others
        assert error < 0.5 * (windows - part[0]).abs().mean((2, 3)).mean()


def test_samples_do_not_depend_on_their_batch() -> None:
    transform = TrainTransform(Augment(), 21, (0.5,) * 3, (0.2,) * 3, seed=3)
    images = torch.rand(33, 3, 24, 24)
    keys = [(7, i * 5) for i in range(33)]
    whole = transform(images, keys)
    for i in (0, 13, 32):
        assert torch.equal(transform(images[i : i + 1], keys[i : i + 1])[0], whole[i])
    assert torch.equal(transform(images[4:21], keys[4:21]), whole[4:21])


def test_epoch_index_and_seed_all_matter() -> None:
    drawn = [
        draw_warps(Augment(), seed, [key]).tobytes()
        for seed in (0, 1)
        for key in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    assert len(set(drawn)) == 8


def test_uniforms_are_uniform_and_independent() -> None:
    u = uniforms(0, [(epoch, index) for epoch in range(20) for index in range(500)], 4)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in u.T])
    chi_square = ((counts - 500) ** 2 / 500).sum(1)
    assert (chi_square < 43.8).all()  # 0.999 quantile at 19 degrees of freedom
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.04
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.04


def test_normalization_repeats_grey_for_each_channel() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    ours = normalize(IMAGES[:, :1], mean, std)
    theirs = tv.normalize(IMAGES[:, :1].expand(-1, 3, -1, -1), list(mean), list(std))
    torch.testing.assert_close(ours, theirs)


def test_volumes_are_transformed_slice_by_slice() -> None:
    slices = IMAGES[:, :3]
    stats = ((0.1, 0.2), (0.5, 0.6))
    train = TrainTransform(Augment(), 20, *stats, seed=1)
    views = [evaluation(view, Augment(), 20, *stats) for view in EVAL_VIEWS]
    for transform in (train, *views):
        volumes = transform(slices[:, None], KEYS)
        assert volumes.shape == (len(slices), 2, 3, 20, 20)
        for i in range(3):
            alone = transform(slices[:, i : i + 1], KEYS)
            torch.testing.assert_close(volumes[:, :, i], alone)


def test_stored_size() -> None:
    assert Augment().stored_size(224) == 256
    assert Augment().stored_size(64) == 73
    assert STILL.stored_size(64) == 64


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"resize_factor": 0.5}, "protocol.augment.resize_factor must be a number from 1 to 4"),
        (
            {"crop_scale": (0.9, 0.5)},
            r"protocol.augment.crop_scale must be given as \[smallest, larg",
        ),
        ({"crop_scale": (0.0, 1.0)}, "protocol.augment.crop_scale must be a number from 0.01 to 1"),
        ({"crop_scale": 0.5}, "protocol.augment.crop_scale must be two numbers from 0.01 to 1"),
        ({"crop_ratio": "12"}, "protocol.augment.crop_ratio must be two numbers"),
        ({"rotation_degrees": "ten"}, "protocol.augment.rotation_degrees must be a number"),
        ({"horizontal_flip": 2}, "protocol.augment.horizontal_flip must be a number from 0 to 1"),
        ({"slice_jitter": 1.5}, "protocol.augment.slice_jitter must be a number from 0 to 1"),
    ],
)
def test_bad_options(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Augment(**options)
