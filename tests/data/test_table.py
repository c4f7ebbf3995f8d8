from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.data.table import TableOptions, as_columns, read_header, read_table
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError

OPTIONS = TableOptions(("label",), None, None, None, 0.2, 0.2)


@pytest.fixture
def table(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


def test_columns_are_read_without_blanks(table) -> None:
    read = read_table(table("id, kind\na , 1\n\nb,\n"))
    assert read.columns == {"id": ["a", "b"], " kind": ["1", ""]}
    assert read.filled("id") == ["a", "b"]
    assert read.optional(None, "id") == ["a", "b"]
    assert read.optional(None, "patient") is None
    with pytest.raises(DataError, match=r"table\.csv: column ' kind' is empty in row '2'\."):
        read.filled(" kind")
    error = read.error(0, "id", "b or c")
    assert str(error).endswith("table.csv, row 1, column 'id': got 'a', allowed: b or c.")


def test_samples_of_rows(table) -> None:
    rows = [f"{i},{'ab'[i % 2]},{s}" for i, s in enumerate(["train", "train", "VALID", "test"])]
    read = read_table(table("id,label,split\n" + "\n".join(rows)))
    samples, notes = OPTIONS.samples(read, read.filled("id"), seed=0)
    assert samples.ids == ("0", "1", "2", "3")
    assert samples.splits.tolist() == ["train", "train", "val", "test"]
    assert (samples.labels.tolist(), samples.class_names) == ([0, 1, 0, 1], ("a", "b"))
    assert samples.patients is None
    assert [note.split(":")[0].endswith("has no 'patient_id' column") for note in notes] == [True]


def test_splits_are_drawn_from_the_seed(table) -> None:
    rows = [f"{i},{i % 2},p{i // 2}" for i in range(40)]
    read = read_table(table("id,label,patient_id\n" + "\n".join(rows)))
    drawn = [OPTIONS.samples(read, read.filled("id"), seed)[0] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0].splits, drawn[1].splits)
    assert not np.array_equal(drawn[0].splits, drawn[2].splits)
    assert drawn[0].patients is not None
    for split in ("val", "test"):
        assert (drawn[0].splits == split).sum() == 8


def test_options_are_checked() -> None:
    OPTIONS.check(["label"], {"path_column": "label"})
    OPTIONS.check(["label"], {"path_column": None})
    with pytest.raises(UnknownNameError, match=r"unknown column for data.path_column 'file'"):
        OPTIONS.check(["label"], {"path_column": "file"})
    with pytest.raises(UnknownNameError, match=r"unknown column for data.label_columns 'label'"):
        OPTIONS.check(["lable"], {})
    with pytest.raises(ConfigError, match=r"data.val_fraction must be a number from 0 to 1"):
        TableOptions(("label",), None, None, None, -1, 0.2).check(["label"], {})


def test_one_name_is_one_column() -> None:
    assert as_columns("label") == ("label",)
    assert as_columns(["a", "b"]) == ("a", "b")


def test_headers(table) -> None:
    assert read_header(table("a,b\n1,2\n")) == ["a", "b"]
    with pytest.raises(DataError, match="more than one column is called 'a'"):
        read_header(table("a,b,a\n"))
