import numpy as np
import pytest

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.class_predictions import Predictions, class_columns, scored_classes
from ttl_lightning.metrics.predictions import as_csv, read_test


def written(folder, probabilities, labels, names, ids=("a,b.png", "c.png")):
    table = Predictions(np.arange(len(ids)), np.array(probabilities), np.array(labels))
    other = Predictions(np.array([0]), np.array(probabilities)[:1], np.array(labels)[:1])
    splits = {
        "val": {"id": ["v"], **class_columns(other, names)},
        "test": {"id": ids, **class_columns(table, names)},
    }
    (folder / "predictions.csv").write_text(as_csv(splits))


def read(folder, task=None):
    return scored_classes(read_test(folder), task)


def test_a_binary_run_is_its_second_class(tmp_path) -> None:
    written(tmp_path, [[0.25, 0.75], [0.9, 0.1]], [1, 0], ("well", "sick"))
    found = read(tmp_path, "binary")
    assert found.ids == ("a,b.png", "c.png")
    np.testing.assert_array_equal(found.scores, [[0.75], [0.1]])
    np.testing.assert_array_equal(found.targets, [[1], [0]])
    assert read(tmp_path).scores.shape == (2, 1)
    assert read(tmp_path, "multiclass").scores.shape == (2, 2)


def test_classes_and_labels_keep_their_columns(tmp_path) -> None:
    written(tmp_path, [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [2, 0], ("x", "y", "z"))
    np.testing.assert_array_equal(read(tmp_path).targets, [[0, 0, 1], [1, 0, 0]])
    written(tmp_path, [[0.2, 0.9], [0.1, 0.4]], [[0.0, np.nan], [1.0, 0.0]], ("x", "y"))
    found = read(tmp_path, "multilabel")
    np.testing.assert_array_equal(found.targets, [[0, np.nan], [1, 0]])
    np.testing.assert_array_equal(found.scores, [[0.2, 0.9], [0.1, 0.4]])


HEAD = "id,split,label,probability/a,probability/b\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with the columns id and split"),
        (HEAD + "1,val,a,0.5,0.5\n", "no rows of the test split"),
        (HEAD + "1,test,a,0.5\n", "cut off"),
        (HEAD + "1,test,c,0.5,0.5\n", "label 'c', which is no class"),
        (HEAD + "1,test,a,x,0.5\n", "no numbers"),
        (HEAD + "1,test,a,nan,0.5\n", "not finite"),
        ("id,split,label\n1,test,a\n", "no column probability/"),
        ("id,split,probability/a\n1,test,0.5\n", "no column label/a"),
        ("id,split,label/a,probability/a\n1,test,2,0.5\n", "other than 0, 1 and nan"),
        ('id,split,label\n"' + "x" * 200_000, "cannot be read"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path, text, reason) -> None:
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        read(tmp_path)


def test_a_missing_or_binary_file_is_one_line(tmp_path) -> None:
    with pytest.raises(DataError, match=r"predictions\.csv cannot be read: No such file"):
        read(tmp_path)
    (tmp_path / "predictions.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)
