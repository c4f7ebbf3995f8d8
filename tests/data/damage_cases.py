"""One small valid file for every reader, and the way in which a run reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from PIL import ExifTags, Image
from safetensors.torch import save_file

from tests.data.damage import Damage, in_gzip, in_png, in_zip
from tests.data.make_volumes import phantom, write_enhanced, write_nifti, write_series
from ttl_lightning.data.readers.picture import FileImages
from ttl_lightning.data.readers.studies import StudyFiles
from ttl_lightning.data.samples import Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.sources.medmnist import MedMNISTSource
from ttl_lightning.data.sources.npz import Npz3dSource, NpzSource
from ttl_lightning.data.sources.studies import StudiesSource
from ttl_lightning.data.sources.table import CsvSource
from ttl_lightning.errors import DataError, TTLError, UnknownNameError, WeightsError
from ttl_lightning.models.backbones import checkpoints as weights

Values = list[Any]


class Case(NamedTuple):
    """A kind of file.

    write: makes it, and what it needs beside it, in a folder; gives the file to damage.
    read: all that a run takes from it.
    checked: its format has a checksum of all that is read.
    inside: damages what lies behind the checksums, where there are any.
    errors: of which kind it must be.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Values]
    checked: bool = False
    inside: Callable[[Random, bytes, Damage], bytes] | None = None
    errors: tuple[type[TTLError], ...] = (DataError,)


def picture(name: str, pixels: np.ndarray, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(pixels).save(folder / name, **options)
        return folder / name

    return write


def pages(folder: Path) -> Path:
    first, *others = (Image.fromarray(page) for page in GREY16)
    options = {"save_all": True, "compression": "tiff_adobe_deflate"}
    first.save(folder / "x.tif", append_images=others, **options)
    return folder / "x.tif"


def read_picture(path: Path) -> Values:
    return [FileImages([path]).read(0)]


def read_pages(path: Path) -> Values:
    reader = FileImages([path] * 3, [0, 1, 2])
    return [reader.read(row) for row in range(3)]


def dicom(compress: bool) -> Callable[[Path], Path]:
    def change(_: int, dataset: Any) -> None:
        dataset.WindowCenter, dataset.WindowWidth = 200, 1500
        if compress:
            from pydicom.uid import RLELossless

            dataset.compress(RLELossless)

    def write(folder: Path) -> Path:
        (path,) = write_series(folder / "made", phantom((1, 12, 14)), change=change)
        return path.rename(folder / "x.dcm")

    return write


def read_image_and_study(path: Path) -> Values:
    return [*read_picture(path), *StudyFiles([path]).read(0)]


def series(folder: Path) -> Path:
    paths = write_series(folder / "studies" / "a", phantom())
    return _with_labels(folder / "studies", ["a"], paths[2])


def nifti(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "studies").mkdir()
        path = write_nifti(folder / "studies" / name, phantom())
        return _with_labels(folder / "studies", ["a"], path)

    return write


def _with_labels(folder: Path, studies: Iterable[str], path: Path) -> Path:
    rows = "".join(f"{study},{number % 2},train\n" for number, study in enumerate(studies))
    (folder / "labels.csv").write_text(f"study,label,split\n{rows}")
    return path


def read_studies(path: Path) -> Values:
    """Of the folder that is called studies."""
    root = next(parent for parent in path.parents if parent.name == "studies")
    return read_archive(root)


def read_nifti_both(path: Path) -> Values:
    return [*read_picture(path), *read_studies(path)]


def read_archive(path: Path) -> Values:
    data = StudiesSource(path=path, classes=("0", "1"), val_fraction=0, test_fraction=0)
    return _loaded(data)


def _loaded(source: Source) -> Values:
    samples = source.load(8)
    assert samples.reader is not None
    return [*_facts(samples), *map(samples.reader.read, range(len(samples.reader)))]


def _facts(samples: Samples) -> Values:
    return [
        *(samples.ids, samples.labels, samples.splits),
        *(samples.class_names, samples.patients),
    ]


def npz(name: str, shape: tuple[int, ...]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rng, arrays = np.random.default_rng(0), {}
        for split, count in (("train", 4), ("val", 2), ("test", 3)):
            arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(count)[:, None] % 2
        np.savez_compressed(folder / name, **arrays)
        return folder / name

    return write


def npz_of_studies(folder: Path) -> Path:
    np.savez(folder / "x.npz", a=phantom((9, 30, 20)), b=phantom((3, 4, 5)).astype(np.float32))
    return _with_labels(folder, ["a", "b"], folder / "x.npz")


def hdf5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file["site/a"] = phantom()
        file.create_dataset("b", data=phantom((4, 6, 8)), chunks=(2, 6, 8), compression="gzip")
    return _with_labels(folder, ["site/a", "b"], folder / "x.h5")


def read_npz(path: Path) -> Values:
    return _loaded(NpzSource(path=path))


def read_npz3d(path: Path) -> Values:
    return _loaded(Npz3dSource(path=path))


def read_medmnist(path: Path) -> Values:
    """As if there were no network: what is damaged is not downloaded again."""
    import medmnist

    whole = (path.parent / "whole").read_bytes()
    known = {"MD5": hashlib.md5(whole).hexdigest()}
    with (
        mock.patch.dict(medmnist.INFO["pneumoniamnist"], known),
        mock.patch("torchvision.datasets.utils._get_redirect_url", side_effect=OSError("offline")),
    ):
        data = MedMNISTSource(path=path.parent)
        data.prepare()
    return _loaded(data)


def medmnist_file(folder: Path) -> Path:
    path = npz("pneumoniamnist.npz", (8, 8))(folder)
    (folder / "whole").write_bytes(path.read_bytes())
    return path


def table(name: str, separator: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        rows = [["path", "label", "split", "patient_id", "page"]]
        for number in range(8):
            Image.fromarray(GREY16[0].astype(np.uint8) + number).save(folder / f"{number}.png")
            rows.append([f"{number}.png", "ab"[number % 2], "train", f"P é{number}", "0"])
        (folder / name).write_text("".join(separator.join(row) + "\n" for row in rows), "utf-8")
        return folder / name

    return write


def read_table(path: Path) -> Values:
    data = CsvSource(path=path, val_fraction=0, test_fraction=0, slice_column="page")
    CsvSource.content({"path": path, "root": None, "path_column": "path"})
    return _loaded(data)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "bn.running_mean": torch.zeros(4),
        "bn.running_var": torch.ones(4),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def saved(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        if name.endswith(".safetensors"):
            save_file(tensors(), folder / name)
        else:
            torch.save({"state_dict": tensors(), "epoch": 3}, folder / name, **options)
        return folder / name

    return write


def read_weights(path: Path) -> Values:
    filled: Mapping[str, torch.Tensor] = weights.matched(
        weights.read(path), tensors(), (), str(path)
    )
    # copied, since the tensors of a .safetensors file are the file itself
    return [
        value for name, tensor in sorted(filled.items()) for value in (name, tensor.numpy().copy())
    ]


_RNG = np.random.default_rng(0)
GREY16 = _RNG.integers(0, 65536, (3, 24, 20), dtype=np.uint16)
UPRIGHT = Image.Exif()
UPRIGHT[ExifTags.Base.Orientation] = 6
RGB = _RNG.integers(0, 256, (24, 20, 3), dtype=np.uint8)

TABLE = (DataError, UnknownNameError)  # of a column that is not there any more
WEIGHTS = (WeightsError,)

CASES = {
    "PNG, 8 bits": Case(picture("x.png", RGB), read_picture, checked=True, inside=in_png),
    "PNG, 16 bits": Case(picture("x.png", GREY16[0]), read_picture, checked=True, inside=in_png),
    "JPEG": Case(picture("x.jpg", RGB, exif=UPRIGHT), read_picture),
    "TIFF": Case(picture("x.tif", GREY16[0]), read_picture),
    "TIFF, packed pages": Case(pages, read_pages),
    "BMP": Case(picture("x.bmp", RGB), read_picture),
    "WebP": Case(picture("x.webp", RGB, lossless=True), read_picture),
    "DICOM": Case(dicom(compress=False), read_image_and_study),
    "DICOM, RLE": Case(dicom(compress=True), read_image_and_study),
    "DICOM, enhanced": Case(
        lambda folder: write_enhanced(folder / "x.dcm", phantom((3, 6, 7))), read_image_and_study
    ),
    "DICOM, series": Case(series, read_studies),
    "NIfTI": Case(nifti("a.nii"), read_nifti_both),
    "NIfTI, gzip": Case(nifti("a.nii.gz"), read_nifti_both, checked=True, inside=in_gzip),
    "npz": Case(npz("x.npz", (8, 8)), read_npz, checked=True, inside=in_zip),
    "npz3d": Case(npz("x.npz", (6, 8, 8)), read_npz3d, checked=True, inside=in_zip),
    "MedMNIST": Case(medmnist_file, read_medmnist, checked=True),
    "npz of studies": Case(npz_of_studies, read_archive, checked=True, inside=in_zip),
    "HDF5": Case(hdf5, read_archive),
    "CSV": Case(table("x.csv", ","), read_table, errors=TABLE),
    "TSV": Case(table("x.tsv", "\t"), read_table, errors=TABLE),
    "weights": Case(saved("x.pth"), read_weights, True, in_zip, WEIGHTS),
    "weights, before torch 1.6": Case(
        saved("x.pth", _use_new_zipfile_serialization=False), read_weights, errors=WEIGHTS
    ),
    "safetensors": Case(saved("x.safetensors"), read_weights, errors=WEIGHTS),
}
