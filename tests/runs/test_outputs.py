import csv
import io
from types import SimpleNamespace

import numpy as np
from rich.console import Console

from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.outputs import predictions_csv, show
from ttl_lightning.tasks.classification_report import CLASSIFICATION


def written(tables, ids, names) -> str:
    data = SimpleNamespace(sample_ids=ids.__getitem__, patients=lambda _: None)
    return predictions_csv(CLASSIFICATION, tables, data, {"class_names": names})


def test_predictions_are_named_and_labelled() -> None:
    tables = {
        "val": Predictions(
            np.array([0, 1]), np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([1, 0])
        ),
        "test": Predictions(np.array([0]), np.array([[0.5, 0.5]]), np.array([1])),
    }
    ids = {"val": ["a,b.png", "c.png"], "test": ["d.png"]}
    rows = list(csv.DictReader(io.StringIO(written(tables, ids, ["well", "sick"]))))
    assert [(r["id"], r["split"], r["label"]) for r in rows] == [
        ("a,b.png", "val", "sick"), ("c.png", "val", "well"), ("d.png", "test", "sick"),
    ]  # fmt: skip
    assert [float(r["probability/sick"]) for r in rows] == [0.75, 0.0, 0.5]


def test_several_labels_have_a_column_each() -> None:
    table = Predictions(np.array([0]), np.array([[0.2, 0.9]]), np.array([[0.0, np.nan]]))
    (row,) = csv.DictReader(io.StringIO(written({"test": table}, {"test": ["x"]}, ["a", "b"])))
    assert (row["label/a"], row["label/b"], row["probability/b"]) == ("0", "nan", "0.9")


def test_the_table_says_what_is_undefined_and_shows_no_ratio_to_nothing(tmp_path) -> None:
    result = RunResult("n", "phantom", "resnet50", "ftl", None, None, 0)
    result.metrics.update({"val/auroc": 0.9, "test/auroc": None})
    result.train.update({"wall_s": 1.0})
    result.complexity.update({
        "params": 2_000_000, "trainable_params": 0, "macs": 10**9, "untruncated": None,
        "latency_ms": {"cpu": {"min": 1.25, "median": 1.5}, "cuda": None},
    })  # fmt: skip
    console = Console(record=True, width=100, file=io.StringIO())
    show(tmp_path, result, console)
    text = console.export_text()
    assert "0.900" in text
    assert "undefined" in text
    assert "2.000 M" in text
    assert "untruncated" not in text
    assert "1.25 ms" in text
    assert "latency, cuda" not in text
