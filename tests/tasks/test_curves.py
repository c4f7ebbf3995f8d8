from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn import metrics as sk

from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.tasks.curves import (
    Marks,
    pr_figure,
    pr_points,
    roc_figure,
    roc_points,
    training_curves,
)

MANY = tuple(f"finding {index}" for index in range(9))


def draw(n: int, classes: int, task: str, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.dirichlet(np.ones(classes), n), 2)
    if task == "multilabel":
        labels = rng.integers(0, 2, (n, classes)).astype(np.float32)
        labels[:, -1] = 0
        labels[::7] = np.nan
    else:
        labels = rng.integers(0, classes - (task == "multiclass"), n)
    return Predictions(np.arange(n), probabilities, labels)


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def saved(figure: Figure, folder: Path) -> Path:
    path = folder / "figure.png"
    figure.savefig(path)
    assert path.stat().st_size > 2000
    return path


@pytest.mark.parametrize("seed", range(10))
def test_points_equal_scikit_learn(seed: int) -> None:
    table = draw(50, 2, "binary", seed)
    scores, positive = table.probabilities[:, 1], table.labels == 1
    false_rate, true_rate = roc_points(scores, positive)
    expected = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected[0])
    np.testing.assert_allclose(true_rate, expected[1])
    recall, precision = pr_points(scores, positive)
    reference = sk.precision_recall_curve(positive, scores)
    # scikit-learn lists them from the lowest threshold on.
    np.testing.assert_allclose(recall, reference[1][::-1])
    np.testing.assert_allclose(precision, reference[0][::-1])


@pytest.mark.parametrize("value", [True, False])
def test_points_of_one_class_are_empty(value: bool) -> None:
    for points in (roc_points, pr_points):
        assert [len(axis) for axis in points(np.ones(3), np.full(3, value))] == [0, 0]


def test_binary_draws_the_splits_together(tmp_path: Path) -> None:
    tables = {"val": draw(40, 2, "binary"), "test": draw(60, 2, "binary", 1)}
    figure = roc_figure(tables, "binary", ("no", "yes"))
    (axes,) = figure.axes
    area = sk.roc_auc_score(tables["test"].labels, tables["test"].probabilities[:, 1])
    assert legend(axes)[1] == f"test: AUROC {area:.3f} (n = 60)"
    drawn = axes.lines[2].get_xydata()
    assert sk.auc(*np.asarray(drawn).T) == pytest.approx(area)
    saved(figure, tmp_path)


@pytest.mark.parametrize("figure_of", [roc_figure, pr_figure])
def test_the_operating_point_lies_on_the_curve(figure_of) -> None:
    table = draw(80, 2, "binary")
    at = float(np.sort(table.probabilities[:, 1])[40])
    figure = figure_of({"test": table}, "binary", ("no", "yes"), Marks({"yes": at}))
    (axes,) = figure.axes
    (point,) = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    yes, true = table.probabilities[:, 1] > at, table.labels == 1
    sensitivity = sk.recall_score(true, yes)
    expected = (1 - sk.recall_score(~true, ~yes), sensitivity)
    if figure_of is pr_figure:
        expected = (sensitivity, sk.precision_score(true, yes))
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx(expected)
    assert "operating point" in legend(axes)


def test_pr_shows_average_precision_and_prevalence(tmp_path: Path) -> None:
    table = draw(60, 2, "binary")
    figure = pr_figure({"test": table}, "binary", ("no", "yes"))
    (axes,) = figure.axes
    average = sk.average_precision_score(table.labels, table.probabilities[:, 1])
    said = [f"test: AUPRC {average:.3f} (n = 60)", "prevalence", "95 % of others"]
    assert legend(axes) == said
    assert axes.lines[1].get_ydata()[0] == pytest.approx(np.mean(table.labels))  # type: ignore[index]
    recall, precision = np.asarray(axes.lines[0].get_xydata()).T
    assert axes.lines[0].get_drawstyle() == "steps-pre"
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average)
    saved(figure, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("figure_of", [roc_figure, pr_figure])
def test_classes_without_a_curve_are_named(task: str, figure_of: object, tmp_path: Path) -> None:
    for names in (("a", "b", "c"), MANY):
        tables = {
            split: draw(70, len(names), task, seed) for seed, split in enumerate(("val", "test"))
        }
        figure = figure_of(tables, task, names)  # type: ignore[operator]
        assert len(figure.axes) == 2
        assert figure.axes[1].get_title().startswith("test: mean AU")
        entries = legend(figure.axes[0])
        labelled = 60 if task == "multilabel" else 70
        assert entries[len(names) - 1] == f"{names[-1]}: undefined (0 of {labelled})"
        saved(figure, tmp_path)


@pytest.mark.parametrize("figure_of", [roc_figure, pr_figure])
def test_nothing_to_draw_is_no_crash(figure_of: object, tmp_path: Path) -> None:
    broken = Predictions(np.arange(3), np.full((3, 2), np.nan), np.array([0, 1, 0]))
    empty = Predictions(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0, np.int64))
    figure = figure_of({"val": broken, "test": empty}, "binary", ("no", "yes"))  # type: ignore[operator]
    assert [entry.split(" (")[0].split()[-1] for entry in legend(figure.axes[0])[:2]] == [
        "undefined",
        "undefined",
    ]
    saved(figure, tmp_path)


def test_training_curves_join_the_rows_of_an_epoch(tmp_path: Path) -> None:
    history = [
        {"epoch": "0", "val/loss": "0.6", "val/auroc": "nan", "train/loss": ""},
        {"epoch": "0", "val/loss": "", "val/auroc": "", "train/loss": "0.7", "lr-Adam": 0.1},
        {"epoch": "1", "val/loss": 0.5, "val/auroc": 0.9, "train/loss": None, "lr-Adam": 0.05},
    ]
    figure = training_curves(history, ("auroc",), best_epoch=1)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss",
        "validation metric",
        "learning rate",
    ]
    assert legend(figure.axes[0]) == ["train/loss", "val/loss", "best epoch"]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_xydata(), [[0, 0.6], [1, 0.5]])
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), [[1, 0.9]])
    saved(figure, tmp_path)


def test_training_curves_of_nothing(tmp_path: Path) -> None:
    figure = training_curves([], ("auroc",))
    assert figure.texts[0].get_text() == "nothing was logged"
    saved(figure, tmp_path)
