from __future__ import annotations

import numpy as np
import pytest

from ttl_lightning.data.samples import Samples, listed
from ttl_lightning.data.tables.labels import encode_classes
from ttl_lightning.errors import DataError, UnknownNameError


def test_class_names_sort_as_numbers_where_all_are() -> None:
    labels, names = encode_classes(["10", "2", "10", "0"])
    assert names == ("0", "2", "10")
    assert labels.tolist() == [2, 1, 2, 0]
    assert encode_classes(["b", "a"])[1] == ("a", "b")


def test_classes_set_the_order() -> None:
    labels, names = encode_classes(["covid", "normal"], ["normal", "covid"])
    assert (labels.tolist(), names) == ([1, 0], ("normal", "covid"))


@pytest.mark.parametrize(
    ("values", "classes", "text"),
    [
        (
            ["a", "b", "c"],
            ["a", "b"],
            r"data.classes gives 2 classes \(a, b\), but the labels hold 3: 'c' not among them",
        ),
        (["a", "a"], None, "at least two classes, each once, are needed; got 'a'"),
        (["a", "b"], ["a", "b", "b"], "at least two classes, each once"),
    ],
)
def test_labels_that_disagree_with_classes(
    values: list[str], classes: list[str] | None, text: str
) -> None:
    with pytest.raises(DataError, match=text):
        encode_classes(values, classes)


def test_rows_and_take() -> None:
    samples = Samples(
        ids=("a", "b", "c"),
        labels=np.array([0, 1, 0]),
        splits=np.array(["val", "train", "val"]),
        class_names=("x", "y"),
        patients=("p", "q", "r"),
    )
    assert samples.rows("val").tolist() == [0, 2]
    assert samples.rows("test").tolist() == []
    part = samples.take(np.array([2, 1]))
    assert (part.ids, part.patients) == (("c", "b"), ("r", "q"))
    with pytest.raises(UnknownNameError, match="did you mean 'val'"):
        samples.rows("vall")


def test_listing() -> None:
    assert listed(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e', … (7 in all)"
