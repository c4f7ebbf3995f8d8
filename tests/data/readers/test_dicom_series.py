from __future__ import annotations

import builtins
import itertools
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.make_volumes import (
    SERIES,
    SPACING_MM,
    only,
    phantom,
    write_enhanced,
    write_series,
)
from ttl_lightning.data.readers.dicom_series import dicom_files, read_dicom_series
from ttl_lightning.errors import ConfigError, DataError

pydicom = pytest.importorskip("pydicom")

EVERY_ORIENTATION = [
    "".join(signed)
    for order in itertools.permutations(("SI", "PA", "LR"))
    for signed in itertools.product(*order)
]


def error_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dicom_series(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "axes",
    ["SPL", "IPL", "SPR", "SAR", "AIL", "PIL", "LIP", "RIP"],
    ids=lambda axes: {
        "SPL": "axial, from the feet",
        "IPL": "axial, from the head",
        "SPR": "axial, feet first",
        "SAR": "axial, prone",
    }.get(axes, f"{'coronal' if axes[0] in 'AP' else 'sagittal'} {axes}"),
)
def test_slices_are_ordered_by_position_and_turned(tmp_path: Path, axes: str) -> None:
    voxels = phantom()
    write_series(tmp_path, voxels, axes)
    read = read_dicom_series(tmp_path)
    assert read.pixels.dtype == np.int16
    assert read.pixels.flags.c_contiguous
    np.testing.assert_array_equal(read.pixels, voxels)
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM)


def test_all_48_orientations(tmp_path: Path) -> None:
    voxels = phantom((2, 3, 4))
    assert len(set(EVERY_ORIENTATION)) == 48
    for axes in EVERY_ORIENTATION:
        write_series(tmp_path / axes, voxels, axes)
        read = read_dicom_series(tmp_path / axes)
        np.testing.assert_array_equal(read.pixels, voxels, err_msg=axes)
        np.testing.assert_allclose(read.spacing_mm, SPACING_MM, err_msg=axes)


@pytest.mark.parametrize("axes", ["SPL", "RIP"])
def test_an_enhanced_file(tmp_path: Path, axes: str) -> None:
    read = read_dicom_series(write_enhanced(tmp_path / "x.dcm", phantom(), axes))
    assert read.pixels.dtype == np.int16
    np.testing.assert_array_equal(read.pixels, phantom())
    np.testing.assert_allclose(read.spacing_mm, SPACING_MM)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:NvImgCodec")  # MONAI makes readers it is not asked for
def test_as_monai_reads_it(tmp_path: Path) -> None:
    from monai.transforms import Compose, LoadImage, Orientation

    # MONAI orders slices by their instance numbers
    write_series(tmp_path, phantom(), in_order=True)
    loaded = Compose(
        [
            LoadImage(reader="PydicomReader", image_only=True, ensure_channel_first=True),
            Orientation("LPS", labels=None),
        ]
    )(tmp_path)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(loaded[0].numpy().transpose(2, 1, 0), read.pixels)
    np.testing.assert_allclose(loaded.pixdim.numpy()[::-1], read.spacing_mm)


def test_each_slice_has_its_own_scale(tmp_path: Path) -> None:
    slopes = [0.5, 1.0, 2.0, 0.25, 3.0]

    def change(index: int, dataset: Any) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slopes[index], 10

    write_series(tmp_path, phantom(), change=change)
    read = read_dicom_series(tmp_path)
    expected = (phantom().astype(float) + 1024) * np.array(slopes)[:, None, None] + 10
    assert read.pixels.dtype == np.float32
    np.testing.assert_array_equal(read.pixels, expected)


def test_what_int16_cannot_hold_is_float(tmp_path: Path) -> None:
    write_series(tmp_path, phantom(), change=only(3, RescaleIntercept=40000))
    read = read_dicom_series(tmp_path)
    expected = phantom().astype(float)
    expected[3] += 41024
    assert read.pixels.dtype == np.float32
    np.testing.assert_array_equal(read.pixels, expected)


def test_values_pass_through_a_table(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    table = (np.arange(4096) * 2).astype(np.uint16)
    item.LUTData = table.tobytes()
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "HU"

    def change(_index: int, dataset: Any) -> None:
        dataset.ModalityLUTSequence = [item]

    write_series(tmp_path, phantom(), change=change)
    np.testing.assert_array_equal(
        read_dicom_series(tmp_path).pixels, table[phantom().astype(int) + 1024]
    )


def test_compressed_slices(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    write_series(tmp_path, phantom(), change=lambda _, dataset: dataset.compress(RLELossless))
    np.testing.assert_array_equal(read_dicom_series(tmp_path).pixels, phantom())


def test_what_is_no_dicom_is_passed_over(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom())
    assert {path.suffix for path in paths} == {".dcm", ""}
    (tmp_path / "notes.txt").write_text("x" * 200)
    (tmp_path / "._1.dcm").write_bytes(b"a file of macOS")
    (tmp_path / "DICOMDIR").write_bytes(paths[0].read_bytes())
    (tmp_path / "folder.dcm").mkdir()
    assert set(dicom_files(tmp_path)) == set(paths)
    np.testing.assert_array_equal(read_dicom_series(tmp_path).pixels, phantom())


def test_two_series_in_one_folder(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom(), change=only(2, SeriesInstanceUID="1.2.3.9"))
    message = error_of(tmp_path)
    assert message.startswith(f"{tmp_path} holds 2 series, expected one: ")
    assert SERIES in message
    assert f"1.2.3.9 ({paths[2].name})" in message


def test_truncated_files(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom())
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:-10])
    message = error_of(tmp_path)
    assert message.startswith(f"cannot read {paths[1]}: its pixels (Explicit VR Little Endian) ")
    assert "74 vs 84 bytes" in message
    paths[1].write_bytes(whole[: -6 * 7 * 2 - 12])
    assert error_of(tmp_path) == f"cannot read {paths[1]}: it ends before its pixels, or has none."
    paths[1].write_bytes(whole[:50])
    assert error_of(tmp_path) == (
        f"cannot read {paths[1]}: it is no DICOM file, there is no DICM at byte 128."
    )
    paths[1].write_bytes(b"")
    assert f"cannot read {paths[1]}: it is no DICOM file" in error_of(tmp_path)
    paths[1].write_bytes(whole)
    paths[0].write_bytes(b"")
    assert paths[0].suffix == ""
    assert f"cannot read {paths[0]}: it is no DICOM file" in error_of(tmp_path)


def test_a_truncated_compressed_file(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    paths = write_series(
        tmp_path, phantom(), change=lambda _, dataset: dataset.compress(RLELossless)
    )
    paths[3].write_bytes(paths[3].read_bytes()[:-30])
    assert error_of(tmp_path).startswith(f"cannot read {paths[3]}: ")


def retold(path: Path, syntax: str) -> None:
    """Names another transfer syntax in the header than the pixels have."""
    dataset = pydicom.dcmread(path)
    old = str(dataset.file_meta.TransferSyntaxUID).encode()
    raw = path.read_bytes()
    padded = old + b"\0" * (len(old) % 2)
    assert raw.count(padded) == 1
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    at = raw.index(padded)
    changed = raw[: at - 2] + len(new).to_bytes(2, "little") + new + raw[at + len(padded) :]
    # the length of the meta information, which comes first, grows with it
    length = int.from_bytes(raw[140:144], "little") + len(new) - len(padded)
    path.write_bytes(changed[:140] + length.to_bytes(4, "little") + changed[144:])


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.70", "JPEG Lossless"),
        ("1.2.840.10008.1.2.4.90", "JPEG 2000"),
        ("1.2.840.10008.1.2.5", "RLE Lossless"),
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_a_wrong_transfer_syntax(tmp_path: Path, syntax: str, name: str) -> None:
    paths = write_series(tmp_path, phantom())
    retold(paths[3], syntax)
    message = error_of(tmp_path)
    assert message.startswith(f"cannot read {paths[3]}: its pixels ({name}")
    assert "cannot be decoded" in message


def test_compressed_pixels_under_an_uncompressed_syntax(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    paths = write_series(
        tmp_path, phantom((4, 32, 32)), change=lambda _, dataset: dataset.compress(RLELossless)
    )
    retold(paths[2], "1.2.840.10008.1.2.1")
    assert error_of(tmp_path).startswith(
        f"cannot read {paths[2]}: its pixels (Explicit VR Little Endian) cannot be decoded: they "
        "come in fragments"
    )


def test_a_missing_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEG2000LosslessDecoder
    from pydicom.uid import JPEG2000Lossless

    write_series(
        tmp_path, phantom((3, 32, 32)), change=lambda _, dataset: dataset.compress(JPEG2000Lossless)
    )
    np.testing.assert_array_equal(read_dicom_series(tmp_path).pixels, phantom((3, 32, 32)))
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_unavailable", {"gdcm": ("gdcm",)})
    message = error_of(tmp_path)
    assert "its pixels (JPEG 2000 Image Compression (Lossless Only)) cannot be decoded" in message
    assert "gdcm" in message


def test_more_pixels_than_the_header_says(tmp_path: Path) -> None:
    paths = write_series(
        tmp_path, phantom(), change=only(1, BitsAllocated=8, BitsStored=8, HighBit=7)
    )
    assert error_of(tmp_path) == (
        f"cannot read {paths[1]}: its pixels (Explicit VR Little Endian) cannot be decoded: "
        "84 bytes, its header says 42."
    )


def test_padding_and_misspelt_values_are_no_damage(tmp_path: Path) -> None:
    def change(_index: int, dataset: Any) -> None:
        dataset.PixelData += b"\0" * 20

    for path in write_series(tmp_path, phantom(), change=change):
        raw = path.read_bytes()
        assert raw.count(b"1.2.3.4\0") == 1
        path.write_bytes(raw.replace(b"1.2.3.4\0", b"1.2.x.4\0"))
    np.testing.assert_array_equal(read_dicom_series(tmp_path).pixels, phantom())


def test_no_files(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"{tmp_path} holds no DICOM files."
    assert "No such file" in error_of(tmp_path / "none")


def test_pydicom_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *args: Any, **kwargs: Any) -> Any:
        if module.split(".")[0] == "pydicom":
            raise ImportError(module)
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs pydicom: pip install 'ttl_lightning\[dicom\]'"):
        read_dicom_series(tmp_path)


MEASURE = """
import json, re, sys, time
from pathlib import Path
from ttl_lightning.data.readers.studies import read_volume

start = time.monotonic()
volume = read_volume(Path(sys.argv[1]))
seconds = time.monotonic() - start
# getrusage would count what the parent held when it started this process
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"shape": volume.pixels.shape, "type": str(volume.pixels.dtype),
                  "sum": int(volume.pixels.sum()), "peak": peak, "seconds": seconds}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_of_a_long_series(tmp_path: Path) -> None:
    layer = phantom((1, 512, 512))[0]
    voxels = np.broadcast_to(layer, (600, 512, 512))
    write_series(tmp_path, voxels)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=200, env=os.environ
    )
    measured = json.loads(done.stdout)
    assert measured["shape"] == [600, 512, 512]
    assert measured["type"] == "int16"
    assert measured["sum"] == 600 * int(layer.astype(np.int64).sum())
    assert measured["peak"] < 1.5e9


def test_damage_is_one_line_and_no_log_besides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_series(tmp_path / "series", phantom())
    # as long as the uncompressed syntax's name: the pixels are not what it says
    content = paths[2].read_bytes().replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.5\x00")
    paths[2].write_bytes(content)
    with pytest.raises(DataError, match=r"its pixels \(RLE Lossless\) cannot be decoded") as caught:
        read_dicom_series(tmp_path / "series")
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_a_decoder_that_panics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds: the len is 336 but the index is 337")

    paths = write_series(tmp_path, phantom((1, 6, 7)))
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", panic)
    message = error_of(tmp_path)
    assert message.startswith(f"cannot read {paths[0]}: its pixels (Explicit VR Little Endian) ")
    assert "index out of bounds" in message


def test_a_panic_of_the_rle_decoder(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    (path,) = write_series(
        tmp_path, phantom((1, 6, 7)), change=lambda _, dataset: dataset.compress(RLELossless)
    )
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):  # some of which run over the end of the frame
        damaged = bytearray(whole)
        damaged[len(whole) - int(rng.integers(1, 80))] = int(rng.integers(256))
        path.write_bytes(damaged)
        with suppress(DataError):
            read_dicom_series(tmp_path)


def test_an_interruption_is_none_of_a_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_series(tmp_path, phantom((1, 6, 7)))
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_dicom_series(tmp_path)
