from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.data.readers.picture import read_image as read_whole
from ttl_lightning.data.readers.reading import LeftOut
from ttl_lightning.data.readers.slices import middle
from ttl_lightning.errors import ConfigError, DataError

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

STORED = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65  # up to 4095: 12 bits


def read_image(path: Path, slice_index: int | None = None, **limit: int) -> np.ndarray:
    return read_whole(path, slice_index, **limit).pixels


def write_dicom(path: Path, pixels: np.ndarray = STORED, **tags: object) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = (
        pixels.shape[-3:-1] if tags.get("SamplesPerPixel") == 3 else pixels.shape[-2:]
    )
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = 12 if pixels.dtype.itemsize == 2 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def fraction(path: Path, slice_index: int | None = None) -> np.ndarray:
    read = read_image(path, slice_index)
    return read / np.iinfo(read.dtype).max


def test_dicom_is_scaled_by_its_stored_bits(tmp_path: Path) -> None:
    read = fraction(write_dicom(tmp_path / "x.dcm"))
    assert read.shape == (1, 8, 8)
    np.testing.assert_allclose(read[0], STORED / 4095, atol=1e-4)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(fraction(path)[0], 1 - STORED / 4095, atol=1e-4)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_window_follows_the_standard_after_rescaling(tmp_path: Path, kind: str) -> None:
    path = write_dicom(
        tmp_path / "x.dcm",
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=1000,
        WindowWidth=2001,
        PhotometricInterpretation=kind,
    )
    units = STORED.astype(float) * 2 - 1000
    expected = np.clip((units - 999.5) / 2000 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    expected = 1 - expected if kind == "MONOCHROME1" else expected
    np.testing.assert_allclose(fraction(path)[0], expected, atol=1e-4)


def test_signed_values_and_negative_slope(tmp_path: Path) -> None:
    signed = (np.arange(64, dtype=np.int16).reshape(8, 8) - 32) * 60
    path = write_dicom(tmp_path / "x.dcm", signed)
    np.testing.assert_allclose(fraction(path)[0], (signed + 2048.0) / 4095, atol=1e-4)
    path = write_dicom(tmp_path / "y.dcm", signed, RescaleSlope=-1, RescaleIntercept=0)
    np.testing.assert_allclose(fraction(path)[0], 1 - (signed + 2048.0) / 4095, atol=1e-4)


def test_table_of_interest(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    table = (np.arange(4096) ** 2 // 256).astype(np.uint16)
    item.LUTData = table.tobytes()
    item["LUTData"].VR = "OW"
    path = write_dicom(tmp_path / "x.dcm", VOILUTSequence=[item])
    np.testing.assert_allclose(fraction(path)[0], table[STORED] / 65535, atol=1e-4)


def test_colour_frames_and_unknown_kinds(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = write_dicom(
        tmp_path / "x.dcm",
        rgb,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    np.testing.assert_array_equal(read_image(path), rgb.transpose(2, 0, 1))
    frames = np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30)])
    path = write_dicom(tmp_path / "y.dcm", frames, NumberOfFrames=3)
    assert fraction(path).max() == pytest.approx(20 / 255, abs=1e-4)
    assert fraction(path, 2).max() == pytest.approx(30 / 255, abs=1e-4)
    with pytest.raises(DataError, match=r"y\.dcm: slice 5 is not from 0 to 2"):
        read_image(path, 5)
    path = write_dicom(tmp_path / "z.dcm", PhotometricInterpretation="HSV")
    with pytest.raises(DataError, match=r"z\.dcm: photometric interpretation 'HSV' is not known"):
        read_image(path)


def test_truncated_dicom_is_named(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"cannot read image .*x\.dcm: "):
        read_image(path)


def volume() -> np.ndarray:
    """A body (x to the right, y to the front, z up): a mark at the patient's right front."""
    data = np.random.default_rng(0).random((6, 8, 5)).astype(np.float32) * 0.5
    data[5, 7, 2] = 1.0
    data[0, 0, 0] = 0.0
    return data


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PSR", "SRA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_shown_the_same_whatever_its_axes(tmp_path: Path, axes: str, suffix: str) -> None:
    canonical = nibabel.Nifti1Image(volume(), np.eye(4))
    target = nibabel.orientations.axcodes2ornt(axes)
    stored = canonical.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), target)
    )
    nibabel.save(stored, tmp_path / f"x{suffix}")
    read = fraction(tmp_path / f"x{suffix}")
    assert read.shape == (1, 8, 6)
    assert np.unravel_index(read[0].argmax(), (8, 6)) == (0, 0)  # front up, right on the left
    np.testing.assert_allclose(read[0], volume()[::-1, ::-1, 2].T, atol=1e-4)


def test_nifti_slices_share_the_volume_range(tmp_path: Path) -> None:
    data = np.arange(4 * 4 * 3, dtype=np.int16).reshape(4, 4, 3) - 20
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "x.nii")
    expected = (data + 20.0) / 47
    for index in range(3):
        read = fraction(tmp_path / "x.nii", index)
        np.testing.assert_allclose(read[0], expected[::-1, ::-1, index].T, atol=1e-4)


def test_nifti_with_two_axes_or_a_fourth_of_one(tmp_path: Path) -> None:
    flat = volume()[:, :, 2]
    nibabel.save(nibabel.Nifti1Image(flat, np.eye(4)), tmp_path / "x.nii")
    nibabel.save(nibabel.Nifti1Image(flat[:, :, None, None], np.eye(4)), tmp_path / "y.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "x.nii"), read_image(tmp_path / "y.nii"))
    assert read_image(tmp_path / "x.nii").shape == (1, 8, 6)


def test_nifti_that_is_no_image_is_named(tmp_path: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.float32), np.eye(4)), tmp_path / "a.nii"
    )
    with pytest.raises(
        DataError, match=r"a\.nii: expected one 2D or 3D image, got shape \(4, 4, 4, 2\)"
    ):
        read_image(tmp_path / "a.nii")
    broken = volume()
    broken[1, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(broken, np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(DataError, match=r"b\.nii: 1 voxels are NaN or infinite"):
        read_image(tmp_path / "b.nii")
    path = tmp_path / "c.nii"
    nibabel.save(nibabel.Nifti1Image(volume(), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cannot read image .*c\.nii: "):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("x.dcm", "pydicom", "dicom"), ("x.nii", "nibabel", "nifti")]
)
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    (tmp_path / name).write_bytes(b"x")
    real = builtins.__import__

    def without(module: str, *args, **kwargs):
        if module.split(".")[0] == package:
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ConfigError, match=rf"needs {package}: pip install 'ttl_lightning\[{extra}\]'"
    ):
        read_image(tmp_path / name)


def test_middle() -> None:
    assert [middle(None, n) for n in (1, 2, 5)] == [0, 1, 2]
    assert middle(0, 3) == 0
    with pytest.raises(ValueError, match="slice -1 is not from 0 to 2"):
        middle(-1, 3)


def enhanced(path: Path, *, shared: dict | None = None, each: list[dict] | None = None) -> Path:
    """Two frames of equal stored values, with tags in functional groups."""
    from pydicom.dataset import Dataset

    def group(tags: dict) -> Dataset:
        item, pixels, window = Dataset(), Dataset(), Dataset()
        for tag, value in tags.items():
            setattr(window if tag.startswith("Window") else pixels, tag, value)
        if len(pixels):
            item.PixelValueTransformationSequence = [pixels]
        if len(window):
            item.FrameVOILUTSequence = [window]
        return item

    groups: dict[str, object] = {"NumberOfFrames": 2}
    if shared is not None:
        groups["SharedFunctionalGroupsSequence"] = [group(shared)]
    if each is not None:
        groups["PerFrameFunctionalGroupsSequence"] = [group(tags) for tags in each]
    return write_dicom(path, np.stack([STORED, STORED]), **groups)


def test_frames_of_an_enhanced_file_have_their_own_scale_and_window(tmp_path: Path) -> None:
    each = [
        {"RescaleSlope": 1, "RescaleIntercept": 0, "WindowCenter": 2048, "WindowWidth": 4097},
        {"RescaleSlope": 7, "RescaleIntercept": -100, "WindowCenter": 2048, "WindowWidth": 4097},
    ]
    path = enhanced(tmp_path / "x.dcm", each=each)
    for frame, (slope, intercept) in enumerate([(1, 0), (7, -100)]):
        units = STORED.astype(float) * slope + intercept
        expected = np.clip((units - 2047.5) / 4096 + 0.5, 0, 1)
        np.testing.assert_allclose(fraction(path, frame)[0], expected, atol=1e-3)


def test_a_shared_negative_slope_inverts(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "x.dcm", shared={"RescaleSlope": -1, "RescaleIntercept": 0})
    np.testing.assert_allclose(fraction(path, 0)[0], 1 - STORED / 4095, atol=1e-4)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 2},
        {"RescaleIntercept": 5},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 100},
    ],
)
def test_tags_that_are_empty_or_alone_change_nothing(tags: dict, tmp_path: Path) -> None:
    # slope and intercept alone scale values and range alike
    read = fraction(write_dicom(tmp_path / "x.dcm", **tags))
    np.testing.assert_allclose(read[0], STORED / 4095, atol=1e-4)


def test_a_slope_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.dcm: RescaleSlope is 0"):
        read_image(write_dicom(tmp_path / "x.dcm", RescaleSlope=0, RescaleIntercept=1))


def test_dicom_without_a_suffix_is_known_by_content(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "IM0001")
    np.testing.assert_array_equal(read_image(path), read_image(write_dicom(tmp_path / "x.dcm")))


@pytest.mark.parametrize(("frames", "chosen"), [(5, None), (5, 1), (1, None)])
def test_frames_and_slices_of_which_nobody_chose_are_counted(
    frames: int, chosen: int | None, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(0).integers(0, 4096, (frames, 8, 8), dtype=np.uint16)
    path = write_dicom(tmp_path / "x.dcm", voxels, NumberOfFrames=frames)
    used = frames // 2 if chosen is None else chosen
    found = read_whole(path, chosen)
    assert np.abs(found.pixels[0] / 65535 - voxels[used] / 4095).max() < 1e-4
    several = frames if chosen is None else 1
    assert found.left_out == LeftOut(images=several)
    # to the left, the back and the head, as the stored axes of DICOM run
    affine = np.diag([-1.0, -1, 1, 1])
    volume = nibabel.Nifti1Image(voxels.transpose(2, 1, 0).astype(np.int16), affine)
    volume.to_filename(tmp_path / "x.nii")
    found = read_whole(tmp_path / "x.nii", chosen)
    low, high = int(voxels.min()), int(voxels.max())
    assert np.abs(found.pixels[0] - (voxels[used] - low) / (high - low) * 65535).max() <= 0.5
    assert found.left_out == LeftOut(images=several, scale=True)


def test_a_torn_dicom_file_is_an_error_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = write_dicom(tmp_path / "x.dcm")
    whole = path.read_bytes()
    for kept in range(140, len(whole), 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"cannot read image .*x\.dcm: "):
            read_image(path)
    assert not recwarn.list


def test_more_pixels_than_the_header_says_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ttl_lightning.data.readers.heeded._said", set())  # once a process
    path = write_dicom(tmp_path / "x.dcm", np.vstack([STORED, STORED[:2]]), Rows=8)
    assert read_image(path).shape == (1, 8, 8)
    assert "x.dcm is read, but: The pixel data" in caplog.text
    assert "excess padding" in caplog.text
