from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.making import data_of
from ttl_lightning.data.sources.table import CsvSource
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError


@pytest.fixture
def table(write_images, tmp_path: Path):
    """Write a .csv file with one row an image."""

    def write(header: str, rows: list[str], images: int = 12) -> Path:
        write_images([f"images/{i}.png" for i in range(images)])
        path = tmp_path / "table.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


def test_splits_follow_patients_and_classes(table) -> None:
    rows = [f"images/{i}.png,{'ill' if i // 3 % 2 else 'healthy'},p{i // 3}" for i in range(60)]
    data = data_of(
        CsvSource,
        path=table("path,label,patient_id", rows, 60),
        image_size=16,
        val_fraction=0.2,
        test_fraction=0.2,
    )
    data.setup()
    assert data.class_names == ("healthy", "ill")
    owners = [
        {int(Path(name).stem) // 3 for name in data.sample_ids(split)}
        for split in ("train", "val", "test")
    ]
    assert [len(owner) for owner in owners] == [12, 4, 4]
    assert len(set.union(*owners)) == 20
    assert [data.labels(split).mean() for split in ("train", "val", "test")] == [0.5] * 3
    assert not any("patient" in note for note in data.notes)


GIVEN = [
    f"images/{i}.png,{i % 2},{split}"
    for i, split in enumerate(["train"] * 6 + ["valid"] * 3 + ["TEST"] * 3)
]


def test_missing_patients_are_said_once(table) -> None:
    data = data_of(CsvSource, path=table("path,label,split", GIVEN), image_size=16)
    data.setup("fit")
    data.setup("test")
    assert sum("no 'patient_id' column" in note for note in data.notes) == 1
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [6, 3, 3]
    assert data.sample_ids("val") == ["images/6.png", "images/7.png", "images/8.png"]


def test_several_label_columns_are_multilabel(table) -> None:
    rows = [
        f"images/{i}.png,{i % 2},{int(i % 3 == 0)},{s}"
        for i, s in enumerate(["train"] * 6 + ["val"] * 3 + ["test"] * 3)
    ]
    data = data_of(
        CsvSource,
        path=table("file,edema,effusion,fold", rows),
        image_size=16,
        path_column="file",
        label_columns=["edema", "effusion"],
        split_column="fold",
    )
    data.setup()
    assert (data.exclusive, data.class_names) == (False, ("edema", "effusion"))
    assert data.labels("test").tolist() == [[1, 1], [0, 0], [1, 0]]
    assert data.labels("test").dtype == np.float32
    assert next(iter(data.test_dataloader()))["label"].shape == (3, 2)


def test_paths_start_from_the_file_or_from_root(table, tmp_path: Path, monkeypatch) -> None:
    path = table("path,label,split", [row.removeprefix("images/") for row in GIVEN])
    monkeypatch.chdir("/")
    with pytest.raises(DataError, match=r"0\.png: no such file"):
        data_of(CsvSource, path=path, image_size=16).setup()
    data_of(CsvSource, path=path, image_size=16, root=tmp_path / "images").setup()
    absolute = [str(tmp_path / row) for row in GIVEN]
    data_of(CsvSource, path=table("path,label,split", absolute), image_size=16).setup()


def test_slices_of_one_file_are_samples_of_their_own(table, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)) for _ in range(12)]
    path = table(
        "path,label,split,page",
        [f"stack.tif,{i % 2},{['train', 'val', 'test'][i // 4]},{i}" for i in range(12)],
    )
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    data = data_of(CsvSource, path=path, image_size=16, slice_column="page")
    data.setup()
    assert data.sample_ids("val") == [f"stack.tif#{i}" for i in (4, 5, 6, 7)]


def test_a_byte_order_mark_and_blank_lines_are_fine(table) -> None:
    path = table("path,label,split", [*GIVEN, "", ""])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    data_of(CsvSource, path=path, image_size=16).setup()


@pytest.mark.parametrize(
    ("header", "rows", "options", "text"),
    [
        (
            "path,lable,split",
            GIVEN,
            {},
            "unknown column for data.label_columns 'label'; did you mean 'lable'",
        ),
        (
            "file,label,split",
            GIVEN,
            {},
            "unknown column for data.path_column 'path'.* Allowed: file, label, split",
        ),
        (
            "path,label,split",
            GIVEN,
            {"patient_column": "pid"},
            "unknown column for data.patient_column 'pid'",
        ),
        (
            "path,label,split",
            GIVEN,
            {"split_column": "fold"},
            "unknown column for data.split_column 'fold'",
        ),
        (
            "path,label,split",
            GIVEN,
            {"label_columns": ["label", "x"]},
            "unknown column for data.label_columns 'x'",
        ),
        ("path,label,label", GIVEN, {}, "more than one column is called 'label'"),
    ],
)
def test_bad_columns_are_found_at_once(
    table, header: str, rows: list, options: dict, text: str
) -> None:
    with pytest.raises((UnknownNameError, DataError), match=text):
        data_of(CsvSource, path=table(header, rows), **options)


def changed(row: int, text: str) -> list[str]:
    return [text if i == row else given for i, given in enumerate(GIVEN)]


@pytest.mark.parametrize(
    ("header", "rows", "options", "text"),
    [
        (
            "path,label,split",
            changed(2, "images/2.png,,train"),
            {},
            r"column 'label': no label in 1 of \d+ rows \(row '3'\)",
        ),
        ("path,label,split", changed(2, ",0,train"), {}, "column 'path' is empty in row '3'"),
        ("path,label,split", changed(2, "images/2.png,0"), {}, "row 3: 2 fields, not 3"),
        (
            "path,label,split",
            changed(2, "images/2.png,0,trian"),
            {},
            "row 3, column 'split': got 'trian', allowed: train, val, test",
        ),
        (
            "path,label,split",
            changed(2, "images/1.png,0,train"),
            {},
            "the same id stands for more than one sample: 'images/1.png'",
        ),
        (
            "path,label,split",
            changed(2, "images/./1.png,0,val"),
            {},
            r"images/1.png \(train\) = images/./1.png \(val\)",
        ),
        (
            "path,label,split",
            changed(8, "images/8.png,2,val"),
            {},
            "no training sample of class '2'",
        ),
        ("path,label,split", GIVEN, {"classes": ["1"]}, "data.classes gives 1 classes"),
        ("path,label,split", [], {}, "no rows below its header"),
        ("path,label,split", GIVEN[:9], {"test_fraction": 0}, "the test split is empty"),
        (
            "path,label,patient_id",
            [f"images/{i}.png,{i % 2},same" for i in range(12)],
            {},
            "split is empty",
        ),
        (
            "path,label,split,patient_id",
            [f"{row},p{i // 2}" for i, row in enumerate(GIVEN)],
            {},
            r"the same patient is in two splits: 'p4' \(the first in val and test\)",
        ),
        (
            "path,label,split",
            GIVEN,
            {"slice_column": "label", "label_columns": ["path", "split"]},
            "column 'path': got 'images/0.png', allowed: 0 or 1",
        ),
        (
            "path,label,split",
            GIVEN,
            {"slice_column": "split"},
            "column 'split': got 'train', allowed: a number from 0",
        ),
    ],
)
def test_bad_tables_are_named(table, header: str, rows: list, options: dict, text: str) -> None:
    path = table(header, rows)
    with pytest.raises(DataError, match=text) as caught:
        data_of(CsvSource, path=path, image_size=16, **options).setup()
    assert "\n" not in str(caught.value)


def test_files_that_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(ConfigError, match=r"data.path must name"):
        data_of(CsvSource)
    with pytest.raises(DataError, match="no such file"):
        data_of(CsvSource, path=path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read .*x\.csv as a \.csv file: it is empty"):
        data_of(CsvSource, path=path)
    path.write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(DataError, match=r"cannot read .*x\.csv as a \.csv file: "):
        data_of(CsvSource, path=path)
    with pytest.raises(DataError, match="Is a directory"):
        data_of(CsvSource, path=tmp_path)
