from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.make_volumes import phantom
from ttl_lightning.data.readers.volume import about, assemble, closest_axes, naming, told
from ttl_lightning.errors import ConfigError, DataError

CANONICAL = np.array([[0.0, 0, 2], [0, 3, 0], [4, 0, 0]])  # to the head, to the back, to the left


def test_the_closest_axes_are_nibabels() -> None:
    orientations = pytest.importorskip("nibabel").orientations
    rng = np.random.default_rng(0)
    for _ in range(200):
        turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        near = np.rint(turned)
        if abs(np.linalg.det(near)) != 1 or np.abs(turned - near).max() > 0.6:
            continue  # halfway between axes the two may choose differently
        steps = turned * rng.uniform(0.5, 3, size=(3, 1))
        order, backwards = closest_axes(steps)
        affine = np.eye(4)
        affine[:3, :3] = steps.T
        # nibabel: for each stored axis the axis of space, and its sign
        expected = orientations.io_orientation(affine)
        for target, (stored, back) in enumerate(zip(order, backwards, strict=True)):
            assert expected[stored, 0] == 2 - target
            assert expected[stored, 1] == (-1 if back else 1)


def test_slices_may_come_one_at_a_time() -> None:
    voxels = phantom()
    read = assemble((layer for layer in voxels), voxels.shape, CANONICAL)
    np.testing.assert_array_equal(read.pixels, voxels)
    assert read.spacing_mm == (2, 3, 4)
    assert [type(length) for length in read.spacing_mm] == [float] * 3


def test_the_type_widens_where_a_slice_needs_it() -> None:
    layers = [np.array([[1, -5]], np.int64), np.array([[0.5, 2]]), np.array([[3, 4]], np.int16)]
    read = assemble(layers, (3, 1, 2), CANONICAL)
    assert read.pixels.dtype == np.float32
    np.testing.assert_array_equal(read.pixels, np.stack(layers))


def test_no_voxels_and_bad_voxels() -> None:
    with pytest.raises(ValueError, match=r"it has no voxels, shape \(0, 4, 5\)"):
        assemble([], (0, 4, 5), CANONICAL)
    layers = np.zeros((2, 2, 2))
    layers[0, 0, 0], layers[1, 1, 1] = np.nan, -np.inf
    with pytest.raises(ValueError, match="2 voxels are NaN or infinite"):
        assemble(layers, (2, 2, 2), CANONICAL)


def test_failures_name_the_file() -> None:
    with pytest.raises(DataError, match=r"^cannot read a/b: two lines\.$"), naming(Path("a/b")):
        raise ValueError("two\nlines.")
    with pytest.raises(DataError, match=r"^cannot read a/b: EOFError\.$"), naming(Path("a/b")):
        raise EOFError
    with pytest.raises(ConfigError, match=r"^as it is$"), naming(Path("a/b")):
        raise ConfigError("as it is")


def test_a_library_that_quotes_the_file_is_cut_short() -> None:
    with pytest.raises(DataError) as caught, naming(Path("x.npz")):
        raise ValueError("header " + 5000 * "\xff\n")
    assert str(caught.value).startswith("cannot read x.npz: header ÿ")
    assert len(str(caught.value)) < 400
    assert told(EOFError()) == "EOFError"
    assert told(ValueError("It ends.\nToo soon.")) == "It ends. Too soon"


def test_an_error_in_what_a_file_holds_names_it_once() -> None:
    for text in ("two classes", "x.csv: two classes"):
        with pytest.raises(DataError) as caught, about(Path("x.csv")):
            raise DataError(text)
        assert str(caught.value) == "x.csv: two classes"
