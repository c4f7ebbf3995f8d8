from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.make_volumes import SPACING_MM, phantom, write_enhanced, write_nifti, write_series
from ttl_lightning.data.readers.studies import StudyFiles, find_studies, read_volume
from ttl_lightning.errors import DataError

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One study of each kind, at several depths, with files that are none."""
    made = tmp_path / "root"
    write_series(made / "patient 1" / "ct", phantom())
    (made / "enhanced").mkdir()
    write_enhanced(made / "enhanced" / "frames", phantom())
    write_nifti(made / "b.nii", phantom())
    write_nifti(made / "patient 1" / "a.NII.GZ".lower(), phantom())
    (made / "labels.csv").write_text("study,label\n")
    (made / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (made / ".hidden").mkdir()
    write_nifti(made / ".hidden" / "c.nii", phantom())
    return made


NAMES = ["b", "enhanced", "patient 1/a", "patient 1/ct"]


def test_every_kind_is_found_and_read_alike(root: Path) -> None:
    found = find_studies(root)
    assert list(found) == NAMES
    studies = StudyFiles(list(found.values()))
    assert len(studies) == 4
    for row in range(4):
        read = studies.read(row)
        np.testing.assert_array_equal(read.pixels, phantom())
        np.testing.assert_allclose(read.spacing_mm, SPACING_MM)
        assert read.pixels.dtype == np.int16


def test_a_multi_frame_file_by_suffix_or_content(root: Path) -> None:
    path = root / "enhanced" / "frames"
    np.testing.assert_array_equal(read_volume(path).pixels, phantom())
    renamed = path.rename(path.with_suffix(".dcm"))
    np.testing.assert_array_equal(read_volume(renamed).pixels, phantom())


def test_a_root_that_is_a_series_itself(root: Path) -> None:
    assert find_studies(root / "patient 1" / "ct") == {"ct": root / "patient 1" / "ct"}


def test_links_are_followed_but_not_in_circles(root: Path, tmp_path: Path) -> None:
    (root / "patient 1" / "up").symlink_to(root)
    outside = tmp_path / "outside"
    write_series(outside, phantom())
    (root / "linked").symlink_to(outside)
    assert list(find_studies(root)) == sorted([*NAMES, "linked"])


def test_two_studies_of_one_name(root: Path) -> None:
    write_nifti(root / "enhanced.nii", phantom())
    with pytest.raises(DataError) as caught:
        find_studies(root)
    assert str(caught.value) == (
        f"study 'enhanced' is both {root / 'enhanced.nii'} and {root / 'enhanced'}."
    )


def test_no_studies(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        find_studies(tmp_path)
    assert str(caught.value) == (
        f"no studies below {tmp_path}: expected files that end in .nii or .nii.gz or .npy, "
        "or folders with one DICOM series each."
    )
    with pytest.raises(DataError, match=r"cannot list .*none: No such file or directory\."):
        find_studies(tmp_path / "none")


def test_a_study_is_an_array_as_it_is_stored(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (4, 6, 5), dtype=np.int16)
    (tmp_path / "3").mkdir()
    np.save(tmp_path / "3/41.npy", voxels)
    found = find_studies(tmp_path)
    assert list(found) == ["3/41"]
    reading = read_volume(found["3/41"])
    np.testing.assert_array_equal(reading.pixels, voxels)
    assert np.isnan(reading.spacing_mm).all()


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (np.zeros((4, 5)), r"of shape \(slices, rows, columns\), got float64 \(4, 5\)"),
        (np.array([print], dtype=object), "Python objects in dtype"),
        (None, "cannot read .*7"),
    ],
)
def test_an_array_that_is_no_study_is_one_line(tmp_path: Path, stored, text) -> None:
    path = tmp_path / "7.npy"
    if stored is None:
        path.write_bytes(b"no array at all")
    else:
        np.save(path, stored, allow_pickle=True)
    with pytest.raises(DataError, match=text) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_volume(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("x")
    with pytest.raises(DataError) as caught:
        read_volume(path)
    assert str(caught.value) == (
        f"{path} is no volume: expected a folder with a DICOM series, a DICOM file, or a file "
        "that ends in .nii or .nii.gz or .npy."
    )
    with pytest.raises(DataError, match=r"cannot read .*none\.nii: no such file or folder\."):
        read_volume(tmp_path / "none.nii")


def test_the_fingerprint_follows_every_file(root: Path) -> None:
    found = find_studies(root)
    studies = StudyFiles(list(found.values()))
    before = [studies.fingerprint(row) for row in range(4)]
    assert before == [studies.fingerprint(row) for row in range(4)]
    assert len(set(before)) == 4
    os.utime(root / "b.nii", (1, 1))
    assert studies.fingerprint(0) != before[0]
    slices = sorted((root / "patient 1" / "ct").iterdir())
    os.utime(slices[2], (1, 1))
    touched = studies.fingerprint(3)
    assert touched != before[3]
    slices[2].unlink()
    assert studies.fingerprint(3) not in (touched, before[3])
    assert [studies.fingerprint(row) for row in (1, 2)] == before[1:3]


def test_the_fingerprint_of_what_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*x\.nii: .*No such file"):
        StudyFiles([tmp_path / "x.nii"]).fingerprint(0)
