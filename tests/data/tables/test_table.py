from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.data.checks import verify_samples
from ttl_lightning.data.tables.table import TableOptions
from ttl_lightning.data.tables.text import read_header, read_table
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError

PATH = Path("table.csv")
OPTIONS = TableOptions(val_fraction=0.2, test_fraction=0.2)


@pytest.fixture
def table(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


def test_columns_are_read_without_blanks(table) -> None:
    read = read_table(table("id, Kind\na , 1\n\nb,\n"))
    assert dict(read.columns) == {"id": ["a", "b"], "Kind": ["1", ""]}
    assert read.filled("id") == ["a", "b"]
    assert read.optional(None, "id") == ["a", "b"]
    assert read.optional(None, "patient") is None
    with pytest.raises(DataError, match=r"table\.csv: column 'kind' is empty in row '2'\."):
        read.filled("kind")
    error = read.error(0, "id", "b or c")
    assert str(error).endswith("table.csv, row 1, column 'id': got 'a', allowed: b or c.")


def test_samples_of_rows(table) -> None:
    rows = [f"{i},{'ab'[i % 2]},{s}" for i, s in enumerate(["train", "train", "VALID", "test"])]
    read = read_table(table("id,label,split\n" + "\n".join(rows)))
    samples = OPTIONS.samples(read, read.filled("id"), seed=0)
    assert samples.ids == ("0", "1", "2", "3")
    assert samples.splits.tolist() == ["train", "train", "val", "test"]
    assert (samples.labels.tolist(), samples.class_names) == ([0, 1, 0, 1], ("a", "b"))
    assert samples.patients is None
    assert [
        note.split(":")[0].endswith("has no 'patient_id' column") for note in samples.notes[:1]
    ] == [True]


def test_splits_are_drawn_from_the_seed(table) -> None:
    rows = [f"{i},{i % 2},p{i // 2}" for i in range(40)]
    read = read_table(table("id,label,patient_id\n" + "\n".join(rows)))
    drawn = [OPTIONS.samples(read, read.filled("id"), seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0].splits, drawn[1].splits)
    assert not np.array_equal(drawn[0].splits, drawn[2].splits)
    assert drawn[0].patients is not None
    for split in ("val", "test"):
        assert (drawn[0].splits == split).sum() == 8


def test_options_are_checked() -> None:
    OPTIONS.check(["label"], {"path_column": "label"}, PATH)
    OPTIONS.check(["label"], {"path_column": None}, PATH)
    with pytest.raises(UnknownNameError, match=r"unknown column for data.path_column 'file'"):
        OPTIONS.check(["label"], {"path_column": "file"}, PATH)
    with pytest.raises(UnknownNameError, match=r"unknown column for data.label_columns 'label'"):
        OPTIONS.check(["lable"], {}, PATH)
    with pytest.raises(ConfigError, match=r"data.val_fraction must be a number from 0 to 1"):
        TableOptions(val_fraction=-1, test_fraction=0.2).check(["label"], {}, PATH)


def test_one_name_is_one_column() -> None:
    assert TableOptions(label_columns="label").labelled_by == ("label",)
    assert TableOptions(label_columns=["a", "b"]).labelled_by == ("a", "b")


def test_headers(table) -> None:
    assert read_header(table("a,b\n1,2\n")) == ["a", "b"]
    with pytest.raises(DataError, match="more than one column is called 'a'"):
        read_header(table("a,b,a\n"))


def labelled(path: Path, **options):
    chosen = replace(OPTIONS, val_fraction=0.0, test_fraction=0.0, **options)
    chosen.check(read_header(path), {}, path)
    read = chosen.usable(read_table(path))
    samples = chosen.samples(read, [str(n) for n in read.numbers], seed=0)
    return samples, list(samples.notes)


@pytest.mark.parametrize("header", ["id,label,Split", "id, Label , split ", "ID,LABEL,SPLIT"])
def test_headers_are_found_without_case_and_blanks(header: str, table) -> None:
    rows = "".join(f"{i},{'ab'[i % 2]},{s}\n" for i, s in enumerate(["train", "train", "test"]))
    samples, _ = labelled(table(f"{header}\n{rows}"))
    assert samples.splits.tolist() == ["train", "train", "test"]


@pytest.mark.parametrize(
    ("separator", "encoding", "noted"),
    [
        (",", "utf-8", []),
        (",", "utf-8-sig", []),
        (";", "utf-8", ["semicolon"]),
        ("\t", "utf-8", ["tab"]),
        ("|", "utf-8", ["bar"]),
        (",", "utf-16", ["UTF-16"]),
        (";", "latin-1", ["Latin-1", "semicolon"]),
    ],
)
def test_tables_as_people_save_them(separator, encoding, noted, tmp_path: Path) -> None:
    rows = [["id", "label"], ["1", "Gesund"], ["2", "Ödem, leicht"], ["3", "Gesund"]]
    text = "\r\n".join(
        separator.join(f'"{f}"' if separator in f or "," in f else f for f in row) for row in rows
    )
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    read = read_table(tmp_path / "table.csv")
    assert read.columns["label"] == ["Gesund", "Ödem, leicht", "Gesund"]
    assert [any(word in note for note in read.notes) for word in noted] == [True] * len(noted)
    assert len(read.notes) == len(noted)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"PK\x03\x04rest", "it is an Excel file or a .zip; save it as text"),
        (b"a,b\n1,\x00\x01\n", "characters of 0"),
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b'a,b\n1,"2\n3,4\n', "unexpected end of data"),
        (b"a, A\n1,2\n", "more than one column is called 'A', 'a'"),
    ],
)
def test_what_is_no_table_is_named(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_table(tmp_path / "table.csv")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="it is no file"):
        read_header(tmp_path / "pipe.csv")


@pytest.mark.parametrize("unknown", ["", "nan", "NA", "NaN", "null", "<NA>"])
def test_a_missing_label_is_no_class(unknown: str, table) -> None:
    path = table(f"id,label\n1,a\n2,{unknown}\n3,b\n")
    with pytest.raises(DataError, match=r"no label in 1 of 3 rows \(row '2'\)\. data\.mis"):
        labelled(path)
    samples, notes = labelled(path, missing="drop")
    assert (samples.ids, samples.class_names) == (("1", "3"), ("a", "b"))
    assert notes[0] == "1 of 3 rows were left out: they have no label."


def test_uncertain_labels_are_asked_about(table) -> None:
    one = table("id,label\n1,0\n2,-1.0\n3,1\n")
    with pytest.raises(DataError, match=r"the uncertain label -1 in 1 of 3 rows .*uncertain=drop"):
        labelled(one)
    assert labelled(one, uncertain="drop")[0].labels.tolist() == [0, 1]
    assert labelled(one, classes=["-1", "0", "1"])[0].labels.tolist() == [1, 0, 2]
    with pytest.raises(ConfigError, match="uncertain=ones is for several label columns"):
        labelled(one, uncertain="ones")
    several = table("id,x,y\n1,0,1\n2,-1,1\n3,1,-1\n")
    columns = {"label_columns": ("x", "y")}
    with pytest.raises(DataError, match=r"'x': the uncertain label -1 in 2 of 3 .*=zeros or"):
        labelled(several, **columns)
    ones, notes = labelled(several, uncertain="ones", **columns)
    assert ones.labels.tolist() == [[0, 1], [1, 1], [1, 1]]
    assert "Uncertain labels are taken for ones: x 1, y 1." in notes
    assert labelled(several, uncertain="zeros", **columns)[0].labels.tolist() == [
        [0, 1], [0, 1], [1, 0],
    ]  # fmt: skip


def test_labels_that_are_written_in_two_ways_are_one_class(table) -> None:
    samples, notes = labelled(table("id,label\n1,Normal\n2,normal\n3,Normal\n4,sick\n"))
    assert (samples.class_names, samples.labels.tolist()) == (("Normal", "sick"), [0, 0, 0, 1])
    assert "Labels 'normal' in column 'label' are taken for 'Normal'." in notes
    samples, _ = labelled(table("id,label\n1,0\n2,0.0\n3,1.0\n4,01\n"))
    assert (samples.class_names, samples.labels.tolist()) == (("0", "1"), [0, 0, 1, 1])


def test_measurements_are_no_classes(table) -> None:
    rows = "".join(f"{i},{i / 7:.3f}\n" for i in range(60))
    with pytest.raises(DataError, match=r"60 numbers with decimals .*: measurements, not classes"):
        labelled(table(f"id,label\n{rows}"))


def test_several_labels_in_one_field(table) -> None:
    samples, notes = labelled(table("id,label\n1,Normal\n2,Edema|Effusion\n3,edema\n"))
    assert not samples.exclusive
    assert samples.class_names == ("Edema", "Effusion", "Normal")
    assert samples.labels.tolist() == [[0, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert any("several labels a row" in note for note in notes)


def test_one_hot_labels_are_one_label(table) -> None:
    path = table("id,x,y,z\n1,1,0,0\n2,0,True,0\n3,0,0,yes\n4,1,no,false\n")
    samples, notes = labelled(path, label_columns=("x", "y", "z"))
    assert (samples.exclusive, samples.labels.tolist()) == (True, [0, 1, 2, 0])
    assert any("exactly one of the 3 labels" in note for note in notes)


def test_one_patient_written_in_two_ways_is_in_one_split(table) -> None:
    rows = "".join(f"{i},{i % 2},{p}\n" for i in range(40) for p in (f"{i}", f"{i}.0"))
    options = replace(OPTIONS, val_fraction=0.3, test_fraction=0.3)
    read = read_table(table(f"id,label,patient_id\n{rows}"))
    samples = options.samples(read, [str(n) for n in read.numbers], seed=0)
    assert samples.patients is not None
    assert len(set(samples.patients)) == 40
    assert (samples.splits[::2] == samples.splits[1::2]).all()


def test_labels_that_are_not_known_count_nowhere(table) -> None:
    rows = "1,0,1\n2,,1\n3,1,-1\n4,nan,NA\n5,1,0\n"
    path = table(f"id,x,y\n{rows}")
    samples, notes = labelled(path, label_columns=("x", "y"), missing="ignore", uncertain="ignore")
    assert samples.ids == ("1", "2", "3", "5")  # of the fourth nothing is known
    np.testing.assert_array_equal(samples.labels, [[0, 1], [np.nan, 1], [1, np.nan], [1, 0]])
    assert "1 of 5 rows were left out: no label is known." in notes
    assert "Missing labels are left out of loss and metrics: x 1." in notes
    assert "Uncertain labels are left out of loss and metrics: y 1." in notes
    verify_samples(replace(samples, splits=np.array(["train", "val", "train", "test"])))
    zeros, _ = labelled(path, label_columns=("x", "y"), missing="zeros", uncertain="drop")
    assert zeros.ids == ("1", "2", "4", "5")
    assert zeros.labels.tolist() == [[0, 1], [0, 1], [0, 0], [1, 0]]
    with pytest.raises(ConfigError, match=r"data\.missing=ignore is for several label columns"):
        labelled(path, label_columns=("x",), missing="ignore")


def test_splits_are_drawn_with_labels_that_are_not_known(table) -> None:
    rows = "".join(f"{i},{('0', '1', '')[i % 3]},{i % 2}\n" for i in range(60))
    options = replace(OPTIONS, label_columns=("x", "y"), missing="ignore")
    read = options.usable(read_table(table(f"id,x,y\n{rows}")))
    samples = options.samples(read, [str(n) for n in read.numbers], seed=0)
    for split in ("train", "val", "test"):
        part = samples.labels[samples.splits == split]
        assert (part[:, 0] == 1).mean() == pytest.approx(1 / 3, abs=0.1)


def test_what_is_wrong_names_the_table(table) -> None:
    path = table("path,lable\na,1\nb,1\n")
    with pytest.raises(UnknownNameError, match=r"'lable'.*They are those of .*table\.csv"):
        OPTIONS.check(read_header(path), {}, path)
    read = read_table(table("path,label\na,1\nb,1\n"))
    with pytest.raises(DataError, match=r"table\.csv: at least two classes"):
        OPTIONS.samples(read, read.filled("path"), seed=0)
