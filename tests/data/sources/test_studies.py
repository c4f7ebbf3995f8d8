from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.making import data_of
from ttl_lightning.data.sources.studies import StudiesSource
from ttl_lightning.data.transforms import Augment
from ttl_lightning.data.views.dataset import as_it_is
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError

SMALL = {"image_size": [4, 16, 16], "min_abnormal_slices": 2, "cache": "memory"}
PLAIN = {"augment": Augment(1.0), "eval_view": "whole", "mean": [0.0] * 3, "std": [1.0] * 3}
SPLITS = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
GIVEN = [f"ct/{i},{i % 2},{split}" for i, split in enumerate(SPLITS)]


def voxels(number: int, slices: int = 9) -> np.ndarray:
    """One study (slices, 16, 16), in Hounsfield units."""
    return np.random.default_rng(number).integers(-900, 900, (slices, 16, 16), dtype=np.int16)


@pytest.fixture
def archive(tmp_path: Path):
    """Write studies.npz with ct/0 to ct/11, and the table of their labels beside it."""

    def write(rows: list[str] = GIVEN, header: str = "study,label,split") -> Path:
        path = tmp_path / "studies.npz"
        np.savez(path, **{f"ct/{i}": voxels(i) for i in range(12)})
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


def test_an_archive_with_its_table(archive) -> None:
    data = data_of(StudiesSource, path=archive(), **PLAIN, **SMALL)
    data.setup()
    assert (data.class_names, data.exclusive) == (("0", "1"), True)
    assert data.sample_ids("val") == ["ct/6", "ct/7", "ct/8"]
    assert data.labels("test").tolist() == [1, 0, 1]
    assert data.sample_ids("train")[:4] == ["ct/0/0", "ct/0/4", "ct/0/5", "ct/1/0"]
    assert data.labels("train").tolist() == [label for label in (0, 1) * 3 for _ in range(3)]
    batch = next(iter(data.val_dataloader()))
    assert batch["study"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert batch["study_label"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    expected = np.clip((voxels(7)[4:8].astype(float) + 100) / 1000, 0, 1)
    np.testing.assert_allclose(batch["image"][4, 2], expected, atol=1e-6)
    assert "The positive class is '1'; data.classes sets the order." in data.notes
    assert any("has no 'patient_id' column" in note for note in data.notes)


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_spawned_workers_load_the_same(archive, cache: str, tmp_path: Path) -> None:
    options = {**SMALL, "cache": cache, "cache_dir": tmp_path / "cache"}
    data = data_of(StudiesSource, path=archive(), **PLAIN, **options)
    data.setup()
    here = data.val_dataloader()
    there = DataLoader(
        here.dataset,
        batch_size=here.batch_size,
        sampler=here.sampler,
        num_workers=2,
        collate_fn=as_it_is,
        multiprocessing_context="spawn",
    )
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_a_folder_of_nifti_files(tmp_path: Path) -> None:
    # stored from right to left, back to front and feet to head: the reader turns the first two
    turn = np.diag([1.0, 1.0, 2.5, 1.0])
    for i in range(7):
        stored = voxels(i).transpose(2, 1, 0)[::-1, ::-1]
        (tmp_path / "deep").mkdir(exist_ok=True)
        name = "deep/a.nii" if i == 0 else f"{i}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(stored, turn), tmp_path / name)
    names = ["deep/a", "1", "2", "3", "4", "5"]
    splits = ["train", "train", "val", "val", "test", "test"]
    (tmp_path / "table.csv").write_text(
        "case,sex,set\n"
        + "".join(
            f"{n},{'mf'[i % 2]},{s}\n" for i, (n, s) in enumerate(zip(names, splits, strict=True))
        )
    )
    data = data_of(
        StudiesSource,
        path=tmp_path,
        labels=tmp_path / "table.csv",
        study_column="case",
        label_columns="sex",
        split_column="set",
        classes=["m", "f"],
        hu_window=[-900, 900],
        **PLAIN,
        **SMALL,
    )
    data.setup()
    assert data.class_names == ("m", "f")
    assert data.notes[-1] == (
        f"1 studies of {tmp_path} are left out, because table.csv does not list them: '6'."
    )
    batch = next(iter(data.val_dataloader()))
    expected = np.clip((voxels(3)[5:].astype(float) + 900) / 1800, 0, 1)
    np.testing.assert_allclose(batch["image"][5, 0], expected, atol=1e-6)


def test_splits_are_drawn_by_patient(archive) -> None:
    rows = [f"ct/{i},{i // 2 % 2},p{i // 2}" for i in range(12)]
    data = data_of(
        StudiesSource,
        path=archive(rows, "study,label,patient_id"),
        val_fraction=0.34,
        test_fraction=0.33,
        **SMALL,
    )
    data.setup()
    owners = [
        {int(name.split("/")[1]) // 2 for name in data.sample_ids(split)}
        for split in ("train", "val", "test")
    ]
    assert [len(owner) for owner in owners] == [2, 2, 2]
    assert len(set.union(*owners)) == 6
    shared = [f"{row},p{i // 4}" for i, row in enumerate(GIVEN)]
    with pytest.raises(DataError, match=r"the same patient is in two splits: 'p1'"):
        data_of(
            StudiesSource, path=archive(shared, "study,label,split,patient_id"), **SMALL
        ).setup()


def test_abnormal_slices(archive) -> None:
    slices = ["", "0-1 8", "", "3", "", "4-6", "", "0", "", "1", "", "2-3"]
    rows = [f"{row},{text}" for row, text in zip(GIVEN, slices, strict=True)]
    data = data_of(StudiesSource, path=archive(rows, "study,label,split,abnormal_slices"), **SMALL)
    data.setup()
    # windows from 0, 4 and 5 on
    assert data.labels("train").tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert data.labels("val").tolist() == [0, 1, 0]
    batch = next(iter(data.val_dataloader()))
    assert batch["label"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert data.source.load(16).abnormal(1, 9).tolist() == [0, 1, 8]
    again = data_of(
        StudiesSource, path=archive(rows, "study,label,split,bad"), abnormal_column="bad", **SMALL
    )
    again.setup()
    assert np.array_equal(again.labels("train"), data.labels("train"))


def test_several_label_columns(archive) -> None:
    rows = [f"{row},{int(i % 3 == 0)}" for i, row in enumerate(GIVEN)]
    data = data_of(
        StudiesSource,
        path=archive(rows, "study,clot,split,tumour"),
        label_columns=["clot", "tumour"],
        **SMALL,
    )
    data.setup()
    assert (data.exclusive, data.class_names) == (False, ("clot", "tumour"))
    assert data.labels("val").tolist() == [[0, 1], [1, 0], [0, 0]]


def changed(row: int, text: str) -> list[str]:
    return [text if i == row else given for i, given in enumerate(GIVEN)]


ABNORMAL = "study,label,split,abnormal_slices"


@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        ("study,label,split", changed(3, "ct/33,1,train"), r"lists studies that .*studies\.npz"),
        ("study,label,split", changed(3, "ct/33,1,train"), r"does not have: 'ct/33'\. It has 'ct"),
        ("study,label,split", changed(3, "ct/2,1,train"), "the same id stands for more than one"),
        ("study,label,split", changed(3, "ct/3,1,trian"), "row 4, column 'split': got 'trian'"),
        (
            ABNORMAL,
            [f"{row},{'8-9' if i % 2 else ''}" for i, row in enumerate(GIVEN)],
            "study 'ct/1' has slices 0 to 8, so slice 9 cannot be abnormal",
        ),
        (
            ABNORMAL,
            [f"{row},5-3" for row in GIVEN],
            "row 1, column 'abnormal_slices': got '5-3', allowed: slices from 0 and ranges",
        ),
        (ABNORMAL, [f"{row},1;2" for row in GIVEN], "got '1;2', allowed: slices from 0"),
        (ABNORMAL, [f"{row},-2" for row in GIVEN], "got '-2', allowed: slices from 0"),
        (ABNORMAL, [f"{row}," for row in GIVEN], "study 'ct/1' is of class '1', but has 0 abn"),
    ],
)
def test_bad_tables_are_named(archive, header: str, rows: list, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        data_of(StudiesSource, path=archive(rows, header), **SMALL).setup()
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_found_at_once(archive, tmp_path: Path) -> None:
    path = archive()
    with pytest.raises(ConfigError, match=r"data.path must name"):
        data_of(StudiesSource)
    with pytest.raises(
        UnknownNameError, match=r"neither a folder nor 'labels.csv'.* Allowed: \.npz"
    ):
        data_of(StudiesSource, path=tmp_path / "labels.csv")
    for key in ("study_column", "abnormal_column", "patient_column"):
        with pytest.raises(UnknownNameError, match=f"unknown column for data.{key} 'x'"):
            data_of(StudiesSource, path=path, **{key: "x"})
    (tmp_path / "labels.csv").unlink()
    for place in (path, tmp_path):
        with pytest.raises(DataError, match=r"data.labels: no such file: .*labels\.csv; it must"):
            data_of(StudiesSource, path=place)


MEMORY = """
import json, resource, sys
import numpy as np, torch
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import Loading
from ttl_lightning.data.window_options import AbnormalView
from ttl_lightning.data.sources.studies import StudiesSource
from ttl_lightning.data.transforms import Augment
torch.set_num_threads(1)
augment = Augment(208 / 192, (0.85, 0.85), (1.0, 1.0), 15.0, 0.5, slice_jitter=0.5)
loading = Loading(batch_size=4, cache="disk", cache_dir=sys.argv[2])
data = DataModule(StudiesSource(path=sys.argv[1]), AbnormalView(), loading, augment=augment)
data.setup()
seen = sum(len(batch["image"]) for batch in data.train_dataloader())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"windows": seen, "peak_gb": peak * 1024 / 1e9}))
"""


@pytest.mark.slow
def test_a_large_study_needs_little_memory(tmp_path: Path) -> None:
    """A training epoch on one study of 600 × 512 × 512 voxels, beside three small ones."""
    path = tmp_path / "studies.npz"
    large = np.random.default_rng(0).integers(-1000, 1000, (600, 512, 512), dtype=np.int16)
    small = [voxels(i, 30) for i in range(3)]
    np.savez(path, large=large, **{f"s{i}": study for i, study in enumerate(small)})
    del large
    (tmp_path / "labels.csv").write_text(
        "study,label,split\nlarge,1,train\ns0,0,train\ns1,1,val\ns2,0,test\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["windows"] == 25 + 2
    assert measured["peak_gb"] < 3
