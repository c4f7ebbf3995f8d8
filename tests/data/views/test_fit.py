from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ttl_lightning as ttl
from ttl_lightning.data.options import FITS
from ttl_lightning.data.views.fit import fit_depth, fit_notes, fit_slices, fit_square


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("tall", [False, True])
def test_fitting_agrees_with_pillow(fit: str, tall: bool) -> None:
    y, x = np.mgrid[:40, :60]
    image = (127 + 60 * np.sin(x / 7) + 60 * np.cos(y / 5)).astype(np.uint8)

    def resized(width: int, height: int) -> np.ndarray:
        pillow = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(pillow).astype(int)

    expected = {
        "squash": resized(20, 20),
        "pad": np.pad(resized(20, 13), ((3, 4), (0, 0))),
        "crop": resized(30, 20)[:, 5:25],
    }[fit]
    ours = fit_square((image.T if tall else image)[None], 20, 3, fit)[0]
    assert ours.dtype == np.uint8
    assert np.abs((ours.T if tall else ours).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("shape", [(48, 96), (96, 48), (10, 101), (33, 32)])
def test_every_corner_is_kept(fit: str, shape: tuple[int, int]) -> None:
    for corner in np.ndindex(2, 2):
        image = np.zeros((1, *shape), np.uint8)
        half = image[0, :: 1 - 2 * corner[0], :: 1 - 2 * corner[1]]
        half[: shape[0] // 4 + 1, : shape[1] // 4 + 1] = 255
        fitted = fit_square(image, 32, 1, fit)[0, :: 1 - 2 * corner[0], :: 1 - 2 * corner[1]]
        assert fitted.any(), f"what lies in the corner {corner} is lost"
        place = np.argwhere(fitted > 127).mean(0)
        assert (place < 16).all()


def test_bars_are_black_as_the_image_has_it() -> None:
    image = np.full((1, 8, 16), 100, np.int16)
    fitted = fit_square(image, 16, 1, "pad", black=-1024)
    assert (fitted[0, :4] == -1024).all()
    assert (fitted[0, 4:12] == 100).all()
    assert (fitted[0, 12:] == -1024).all()


def test_fitting_keeps_signs_and_fractions() -> None:
    values = np.linspace(-2.5, 1.5, 30, dtype=np.float32)
    image = np.broadcast_to(values, (1, 30, 30))
    fitted = fit_square(image, 15, 1)
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted[0, 0, 1:-1], values.reshape(15, 2).mean(1)[1:-1], atol=1e-5)
    whole = fit_square((image * 1000).astype(np.int16), 15, 1)
    assert whole.dtype == np.int16
    assert np.abs(whole - fitted * 1000).max() < 2


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("shape", [(1, 9, 30), (3, 31, 10), (1, 1, 1), (3, 1000, 2)])
def test_fitting_gives_squares(shape: tuple[int, int, int], fit: str) -> None:
    fitted = fit_square(np.full(shape, 65535, np.uint16), 12, 1, fit)
    assert fitted.shape == (1, 12, 12)
    assert (fitted == 65535).all()


@pytest.mark.parametrize(
    ("fit", "text"),
    [
        ("crop", "2 of 4 images are not square and lose pixels to the square crop, up to 75.0% of"),
        ("pad", "2 of 4 images are not square and have black bars, up to 75.0% of the square"),
        ("squash", "2 of 4 images are not square and are squashed into squares, up to 4.00-fold"),
    ],
)
def test_a_run_says_what_became_of_images_that_are_not_square(fit: str, text: str) -> None:
    sides = np.array([[60, 60], [60, 240], [90, 60], [1001, 1000]])
    (note,) = fit_notes(sides, 64, fit, "images")
    assert note.startswith(text)
    assert f"data.fit={fit}" in note
    assert fit_notes(sides[[0, 3]], 64, fit, "images") == []


def test_a_run_says_that_images_are_enlarged() -> None:
    sides = np.array([[28, 28], [40, 40], [30, 32]])
    note = fit_notes(sides, 64, "crop", "studies")[-1]
    assert note == (
        "2 of 3 studies are enlarged to 64 × 64 pixels, the smallest from 28 × 28; "
        "data.image_size decides."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("workdir")
def test_a_finding_at_the_edge_of_a_wide_image_is_seen_unless_it_is_cropped() -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, number in (("train", 200), ("val", 60), ("test", 100)):
        labels = np.arange(number) % 2
        images = rng.normal(90, 25, (number, 48, 96))
        images[labels == 1, 12:36, :20] += 80
        arrays |= {f"{split}_images": images.clip(0, 255).astype(np.uint8)}
        arrays |= {f"{split}_labels": labels[:, None]}
    np.savez("wide.npz", **arrays)
    common = [
        "data=npz", "data.path=wide.npz", "data.image_size=32", "backbone=test_resnet",
        "backbone.weights=null", "strategy=ftl", "trainer.accelerator=cpu", "trainer.max_epochs=6",
        "trainer.precision=32-true", "protocol.learning_rate=3e-3",
    ]  # fmt: skip
    whole = ttl.train(overrides=common, run_dir=Path("whole"))
    cropped = ttl.train(overrides=[*common, "data.fit=crop"], run_dir=Path("cropped"))
    assert whole.metrics["test/auroc"] > 0.99
    assert 0.3 < cropped.metrics["test/auroc"] < 0.7
    assert "360 of 360 images are not square and lose pixels" in cropped.notes["data"]
    assert "up to 50.0% of their area (data.fit=crop)" in cropped.notes["data"]


def test_slices_are_resized_as_torch_does() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.normal(0, 300, (3, 30, 44)).astype(np.float32)
    fitted = fit_slices(voxels, 15, "crop", 0)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(voxels)[:, None], size=(15, 22), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(fitted, resized[:, 0, :, 3:18].numpy(), atol=1e-3)
    whole = fit_slices(np.rint(voxels).astype(np.int16), 15, "crop", 0)
    assert whole.dtype == np.int16
    assert np.abs(whole - fitted).max() < 1.5


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(np.int16, np.int16), (np.uint8, np.int16), (np.float32, np.float32), (np.int32, np.float32)],
)
def test_what_fits_sixteen_bits_is_kept_so(kind: type, kept: type) -> None:
    voxels = np.full((2, 9, 9), 100, kind)
    assert fit_slices(voxels, 9, "crop", 0).dtype == kept
    assert (fit_slices(voxels, 5, "crop", 0) == 100).all()


def test_depth_is_resampled_by_the_triangle_filter() -> None:
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, 256, (30, 3, 5), dtype=np.uint8)
    for slices in (7, 10, 30, 45):
        expected = np.einsum("sd,dhw->shw", triangles(30, slices), voxels.astype(np.float64))
        fitted = fit_depth(voxels, slices)
        assert fitted.dtype == np.uint8
        assert np.abs(fitted - expected).max() <= 0.5 + 1e-3  # rounding


def triangles(depth: int, slices: int) -> np.ndarray:
    """Weights (slices, depth) of linear resampling whose kernel is as wide as the step."""
    step = depth / slices
    centre = (np.arange(slices) + 0.5) * step
    away = np.abs(np.arange(depth) + 0.5 - centre[:, None]) / max(step, 1)
    weights = np.maximum(1 - away, 0)
    return weights / weights.sum(1, keepdims=True)
