"""Masks written down again lie where their images do."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from ttl_lightning.data.readers.base import ArrayImages
from ttl_lightning.data.readers.masks import MaskStudies, Meaning, mask_files

TURNS = {
    "as it is": np.diag([1.0, 1.0, 3.0, 1.0]),
    "from the left": np.diag([-0.5, 0.7, 2.0, 1.0]),
    "axes in another order": np.array(
        [[0, 0, 2.0, 5], [-0.5, 0, 0, 7], [0, 0.7, 0, -9], [0, 0, 0, 1]]
    ),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_volumes_mask_has_the_axes_and_the_affine_of_its_source(
    turn: str, tmp_path: Path
) -> None:
    stored = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(stored, TURNS[turn]), path)
    reader = MaskStudies([path], Meaning((1, 2)))
    numbers = reader.read(0).pixels
    regions = np.array([numbers == 1, numbers == 2])
    ((name, content),) = mask_files(reader, 0, "deep/a", regions, overlap=False)
    assert name == "deep/a.nii.gz"
    again = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    assert np.array_equal(np.asarray(again.dataobj), stored)
    np.testing.assert_allclose(again.affine, TURNS[turn])


def test_an_images_mask_has_the_numbers_of_its_regions() -> None:
    reader = ArrayImages(np.zeros((1, 3, 4), np.uint8))
    regions = np.zeros((2, 3, 4), bool)
    regions[0, 0], regions[1, 2] = True, True
    ((name, content),) = mask_files(reader, 0, "../../b", regions, overlap=False)
    assert name == "b.png"
    assert np.asarray(Image.open(io.BytesIO(content))).tolist() == [[1] * 4, [0] * 4, [2] * 4]


def test_regions_that_overlap_have_a_file_each() -> None:
    reader = ArrayImages(np.zeros((1, 3, 4), np.uint8))
    files = mask_files(reader, 0, "b", np.ones((2, 3, 4), bool), overlap=True)
    assert [name for name, _ in files] == ["b.1.png", "b.2.png"]
    assert np.asarray(Image.open(io.BytesIO(files[1][1]))).tolist() == [[255] * 4] * 3
