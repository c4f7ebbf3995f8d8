from __future__ import annotations

import builtins
import gzip
import itertools
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.make_volumes import SPACING_MM, phantom, write_nifti, write_series
from ttl_lightning.data.readers.dicom_series import read_dicom_series
from ttl_lightning.data.readers.nifti import read_nifti_volume
from ttl_lightning.errors import ConfigError, DataError

nibabel = pytest.importorskip("nibabel")


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_nifti_volume(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PSR", "SRA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_stored_axes_do_not_matter(tmp_path: Path, axes: str, suffix: str) -> None:
    read = read_nifti_volume(write_nifti(tmp_path / f"x{suffix}", phantom(), axes))
    assert read.pixels.dtype == np.int16
    assert read.pixels.flags.c_contiguous
    np.testing.assert_array_equal(read.pixels, phantom())
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM)


def test_all_48_orientations(tmp_path: Path) -> None:
    every = {
        "".join(signed)
        for order in itertools.permutations(("SI", "PA", "LR"))
        for signed in itertools.product(*order)
    }
    assert len(every) == 48
    for axes in sorted(every):
        read = read_nifti_volume(write_nifti(tmp_path / "x.nii", phantom(), axes))
        np.testing.assert_array_equal(read.pixels, phantom(), err_msg=axes)
        np.testing.assert_allclose(read.spacing_mm, SPACING_MM, err_msg=axes)


def test_both_formats_give_one_volume(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    write_series(tmp_path / "series", phantom(), "AIL")
    from_dicom = read_dicom_series(tmp_path / "series")
    from_nifti = read_nifti_volume(write_nifti(tmp_path / "x.nii.gz", phantom(), "PIR"))
    np.testing.assert_array_equal(from_dicom.pixels, from_nifti.pixels)
    np.testing.assert_allclose(from_dicom.spacing_mm, from_nifti.spacing_mm)
    assert from_dicom.pixels.dtype == from_nifti.pixels.dtype


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:NvImgCodec")  # MONAI makes readers it is not asked for
def test_as_monai_reads_it(tmp_path: Path) -> None:
    from monai.transforms import Compose, LoadImage, Orientation

    path = write_nifti(tmp_path / "x.nii.gz", phantom(), "PSR")
    loaded = Compose(
        [
            LoadImage(reader="NibabelReader", image_only=True, ensure_channel_first=True),
            Orientation("LPS", labels=None),
        ]
    )(path)
    read = read_nifti_volume(path)
    np.testing.assert_array_equal(loaded[0].numpy().transpose(2, 1, 0), read.pixels)
    np.testing.assert_allclose(loaded.pixdim.numpy()[::-1], read.spacing_mm, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slope_and_intercept_are_applied(tmp_path: Path, suffix: str) -> None:
    image = nibabel.Nifti1Image(phantom(), np.eye(4))
    image.header.set_slope_inter(0.25, 7)
    nibabel.save(image, tmp_path / f"x{suffix}")
    read = read_nifti_volume(tmp_path / f"x{suffix}")
    expected = nibabel.load(tmp_path / f"x{suffix}").get_fdata()
    assert read.pixels.dtype == np.float32
    np.testing.assert_array_equal(read.pixels, expected[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (np.array([[[-32768, 32767]]], np.int32), np.int16),
        (np.array([[[-32769, 0]]], np.int32), np.float32),
        (np.array([[[0, 65535]]], np.uint16), np.float32),
        (np.array([[[3.0, -1000.0]]], np.float64), np.int16),
        (np.array([[[3.0, 0.5]]], np.float32), np.float32),
    ],
)
def test_whole_numbers_that_fit_are_int16(tmp_path: Path, data: np.ndarray, kept: type) -> None:
    read = read_nifti_volume(save(tmp_path / "x.nii", data))
    assert read.pixels.dtype == kept
    np.testing.assert_array_equal(read.pixels, data[::-1, ::-1].transpose(2, 1, 0))


def test_an_oblique_volume_goes_to_the_closest_axes(tmp_path: Path) -> None:
    turn = np.radians(30)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:, :3] *= SPACING_MM
    data = phantom()
    read = read_nifti_volume(save(tmp_path / "x.nii", data, affine))
    np.testing.assert_array_equal(read.pixels, data[::-1, ::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM[::-1], rtol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1)])
def test_spacing_is_in_mm(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(phantom(), np.diag([1, 2, 3, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "x.nii")
    spacing = read_nifti_volume(tmp_path / "x.nii").spacing_mm
    np.testing.assert_allclose(spacing, np.array([3, 2, 1]) * factor, rtol=1e-6)


def test_a_single_slice_and_a_fourth_axis_of_one(tmp_path: Path) -> None:
    flat = phantom()[0]
    expected = flat[::-1, ::-1].T[None]
    for shape in (flat.shape, (*flat.shape, 1, 1)):
        read = read_nifti_volume(save(tmp_path / "x.nii", flat.reshape(shape)))
        np.testing.assert_array_equal(read.pixels, expected)


def test_four_dimensions(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii", np.zeros((4, 5, 6, 2), np.int16))
    assert error_of(path) == (
        f"cannot read {path}: expected one 2D or 3D image, got shape (4, 5, 6, 2)."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_voxels_that_are_not_finite(tmp_path: Path, value: float) -> None:
    data = phantom().astype(np.float64)
    data[1, 2, 3] = data[4, 0, 6] = value
    path = save(tmp_path / "x.nii", data)
    assert error_of(path) == f"cannot read {path}: 2 voxels are NaN or infinite."


def test_colour(tmp_path: Path) -> None:
    rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = save(tmp_path / "x.nii", rgb)
    assert error_of(path).startswith(f"cannot read {path}: values of type [('R', 'u1'), ")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"x{suffix}", phantom((20, 20, 20)))
    whole = path.read_bytes()
    for kept in (len(whole) - 60, 200, 0):
        path.write_bytes(whole[:kept])
        assert error_of(path).startswith(f"cannot read {path}: ")


def test_a_singular_affine(tmp_path: Path) -> None:
    def written(affine: np.ndarray) -> Path:
        path = save(tmp_path / "x.nii", phantom())
        raw = bytearray(path.read_bytes())
        raw[280:328] = affine.astype("<f4").tobytes()  # srow_x, srow_y and srow_z
        raw[252:256] = np.array([0, 2], "<i2").tobytes()  # qform_code and sform_code
        path.write_bytes(raw)
        return path

    path = written(np.eye(3, 4)[[0, 0, 2]])
    assert error_of(path) == f"cannot read {path}: its affine has an axis without length."
    turned = np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
    assert error_of(written(turned)) == f"cannot read {path}: two axes of its affine are the same."


def test_nibabel_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *args: Any, **kwargs: Any) -> Any:
        if module.split(".")[0] == "nibabel":
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs nibabel: pip install 'ttl_lightning\[nifti\]'"):
        read_nifti_volume(tmp_path / "x.nii")


def test_a_flipped_bit_in_a_packed_file_is_found(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii.gz", phantom((9, 12, 14)), "RAS")
    good, read = path.read_bytes(), read_nifti_volume(path).pixels
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(10, len(good) - 8, 40):  # between gzip's header and its checksum
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with suppress(DataError):
            assert np.array_equal(read_nifti_volume(path).pixels, read), "other voxels, no word"
            continue
        refused += 1
    assert refused > 30


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(30000, 30000, 30000), (2000, 2000, 1000)])
def test_a_header_that_promises_too_much_takes_no_memory(
    shape: tuple[int, ...], suffix: str, tmp_path: Path
) -> None:
    path = save(tmp_path / f"x{suffix}", np.zeros((4, 4, 4), np.int16))
    opener = gzip.open if suffix.endswith("gz") else open
    with opener(path, "rb") as file:
        content = bytearray(file.read())
    content[40:56] = np.array([3, *shape, 1, 1, 1, 1], np.int16).tobytes()
    with opener(path, "wb") as file:
        file.write(content)
    tracemalloc.start()
    text = error_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "its header promises" in text
    assert peak < 50e6


def test_a_packed_file_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros((4, 4, 4), np.int16))
    with gzip.open(path, "rb") as file:
        content = file.read()
    with gzip.open(path, "wb") as file:
        file.write(content + bytes(64_000_000))
    assert "it unpacks to more than" in error_of(path)
