from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.make_volumes import SPACING_MM, TOWARDS, only, phantom, write_series
from ttl_lightning.data.readers.dicom_series import read_dicom_series
from ttl_lightning.errors import DataError

pytest.importorskip("pydicom")


def error_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dicom_series(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NEAR = [-100, -80, 46]  # the seventh slice is at 45 mm


def test_a_tilted_gantry_is_taken_as_scanned(tmp_path: Path) -> None:
    def change(index: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [0, 1.5 * index, 2 * index]

    write_series(tmp_path, phantom(), change=change)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.pixels, phantom())
    np.testing.assert_allclose(read.spacing_mm, (2.5, *SPACING_MM[1:]))  # 1.5² + 2² = 2.5²


def test_oblique_slices_go_to_the_closest_axes(tmp_path: Path) -> None:
    turn = np.radians(20)

    def change(_index: int, dataset: Any) -> None:
        row, down = [np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0]
        dataset.ImageOrientationPatient = [round(value, 6) for value in (*row, *down)]

    write_series(tmp_path, phantom(), "SPL", change=change)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.pixels, phantom())
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM, rtol=1e-5)


def test_positions_rounded_to_a_tenth_are_even(tmp_path: Path) -> None:
    def change(index: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [0, 0, round(0.625 * index, 1)]

    write_series(tmp_path, phantom((9, 2, 2)), change=change)
    assert read_dicom_series(tmp_path).spacing_mm[0] == pytest.approx(0.625)


def test_a_single_slice_needs_its_thickness(tmp_path: Path) -> None:
    write_series(tmp_path / "a", phantom((1, 3, 4)))
    read = read_dicom_series(tmp_path / "a")
    np.testing.assert_array_equal(read.pixels, phantom((1, 3, 4)))
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM)
    write_series(tmp_path / "b", phantom((1, 3, 4)), change=only(0, SliceThickness=None))
    assert error_of(tmp_path / "b").endswith("b: it has a single slice, and no SliceThickness.")


def test_a_missing_slice_is_named_with_its_gap(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom((7, 3, 4)))
    paths[3].unlink()
    assert error_of(tmp_path) == (
        f"{paths[2]}: a gap of 5 mm follows, before {paths[4].name}; slices are 2.5 mm apart, "
        "so 1 may be missing."
    )
    paths[4].unlink()
    assert "a gap of 7.5 mm follows" in error_of(tmp_path)
    assert "so 2 may be missing" in error_of(tmp_path)


def test_a_gap_among_three_slices(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom((4, 3, 4)), "IPL")
    paths[1].unlink()
    # positions run from the feet, the files were made from the head
    assert error_of(tmp_path).startswith(f"{paths[2]}: a gap of 5 mm follows")


def test_uneven_steps(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom((8, 3, 4)), change=only(7, ImagePositionPatient=NEAR))
    assert error_of(tmp_path) == (
        f"{paths[6]}: the next slice, {paths[7].name}, is 1 mm away, others are 2.5 mm apart."
    )


def test_two_slices_at_one_position(tmp_path: Path) -> None:
    paths = write_series(
        tmp_path, phantom(), change=only(1, ImagePositionPatient=[-100, -80, 32.5 + 2.5])
    )
    message = error_of(tmp_path)
    assert message.endswith(r"lie at the same position -100\-80\35.")
    assert str(paths[1]) in message
    assert str(paths[2]) in message


def test_slices_beside_the_line(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom(), change=only(2, ImagePositionPatient=[-100, -70, 35]))
    assert error_of(tmp_path) == (
        f"{paths[2]} lies 10 mm beside the line of the others in {tmp_path.name}."
    )


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {"ImageOrientationPatient": [*TOWARDS["L"], *TOWARDS["I"]]},
            r": orientation 1\0\0\0\0\-1, in FIRST 1\0\0\0\1\0: slices of one volume are parallel.",
        ),
        (
            {"Rows": 3, "Columns": 14},
            ": 3×14 pixels, in FIRST 6×7: slices of one volume have one size.",
        ),
        (
            {"PixelSpacing": [0.8, 0.9]},
            r": pixel spacing 0.8\0.9 mm, in FIRST 0.8\0.7 mm: slices of one volume have one "
            "spacing.",
        ),
    ],
)
def test_slices_that_do_not_fit_together(tmp_path: Path, tags: dict[str, Any], said: str) -> None:
    paths = write_series(tmp_path, phantom(), change=only(4, **tags))
    assert error_of(tmp_path) == str(paths[4]) + said.replace("FIRST", sorted(paths)[0].name)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"ImagePositionPatient": None}, "it has no ImagePositionPatient."),
        ({"ImageOrientationPatient": None}, "it has no ImageOrientationPatient."),
        ({"PixelSpacing": None}, "it has no PixelSpacing."),
        ({"Rows": None}, "it has no Rows."),
        (
            {"ImagePositionPatient": [1, 2]},
            "ImagePositionPatient must be 3 finite numbers, got [1.0, 2.0].",
        ),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "ImageOrientationPatient [1.0, 0.0, 0.0, 1.0, 0.0, 0.0] is not two perpendicular ways.",
        ),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing must be positive, got 0 and 1."),
        (
            {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
            "a volume is grey, this image is RGB.",
        ),
        ({"PhotometricInterpretation": None}, "it holds no image."),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "a volume is grey, this image is PALETTE COLOR.",
        ),
        (
            {"NumberOfFrames": 2},
            "it has 2 frames and 0 positions of frames; only enhanced multi-frame files have them.",
        ),
    ],
)
def test_a_slice_that_does_not_say_where_it_lies(
    tmp_path: Path, tags: dict[str, Any], said: str
) -> None:
    paths = write_series(tmp_path, phantom(), change=only(2, **tags))
    assert error_of(tmp_path) == f"cannot read {paths[2]}: {said}"
