from __future__ import annotations

import numpy as np

from ttl_lightning.data.readers.base import ArrayImages, ArrayVolumes


def test_arrays_give_channels_first() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.testing.assert_array_equal(ArrayImages(images).read(1).pixels[2], images[1, ..., 2])
    assert ArrayImages(images[..., 0]).read(0).pixels.shape == (1, 4, 5)


def test_an_array_of_a_file_is_known_by_it_and_another_by_its_values() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5), dtype=np.uint8)
    images[1] = images[0]
    for kind in (ArrayImages, ArrayVolumes):
        alone = kind(images.copy())
        assert alone.fingerprint(0) == alone.fingerprint(1) == kind(images).fingerprint(0)
        found = [kind(images, mark).fingerprint(row) for mark in "ab" for row in (0, 1)]
        assert len({*found, alone.fingerprint(0)}) == 5
        assert kind(images + 1, "a").fingerprint(0) == found[0]
