import io
import statistics

import numpy as np
import pytest

from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.collect import Run
from ttl_lightning.report.compare import best_at_cutoffs
from ttl_lightning.report.figures import choice_figure, pareto, tradeoff_figure
from ttl_lightning.report.methods import group


def trained(strategy, cutoff, index, seed, auprc) -> RunResult:
    result = RunResult("n", "npz", "resnet50", strategy, cutoff, index, seed)
    result.metrics["test/auprc"] = auprc
    return result


def figure_of(results):
    methods = group(Run("", result) for result in results)[0].methods
    return choice_figure(best_at_cutoffs(methods, ()), ())


def test_seeds_are_averaged_and_cutoffs_are_in_order() -> None:
    runs = [
        trained("ttl", "block2.4", 8, 0, 0.9),
        trained("ttl", "block1.3", 4, 0, 0.7),
        trained("ttl", "block2.4", 8, 1, 0.8),
        trained("ttl", "block3.6", 14, 0, None),
        trained("ftl", None, None, 0, 0.85),
    ]
    _, axes = figure_of(runs).axes
    drawn = lines(axes)
    cut = drawn["TTL (truncated)"]
    np.testing.assert_allclose(cut.get_xdata(), [4, 8])
    np.testing.assert_allclose(cut.get_ydata(), [0.7, statistics.mean([0.9, 0.8])])
    np.testing.assert_allclose(drawn["full finetuning"].get_ydata(), [0.85, 0.85])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["block1", "block2"]


def test_two_cutoffs_of_one_block_keep_their_names() -> None:
    runs = [trained("ttl", "block3.4", 12, 0, 0.9), trained("ttl", "block3.6", 14, 0, 0.8)]
    _, axes = figure_of(runs).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["block3.4", "block3.6"]


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_no_other_point_beats(seed) -> None:
    rng = np.random.default_rng(seed)
    points = [(float(x), float(y)) for x, y in np.round(rng.random((30, 2)), 1)]
    beaten = {
        p for p in points for q in points if q != p and q[0] <= p[0] and q[1] >= p[1]
    }  # fmt: skip
    exact = [((x, x), y) for x, y in points]
    assert [points[i] for i in pareto(exact)] == sorted(set(points) - beaten)
    assert pareto([]) == []


def test_nothing_is_on_the_front_because_of_noise() -> None:
    best, tied, faster = ((0.9, 1.1), 0.9), ((0.85, 1.05), 0.8), ((0.3, 0.5), 0.7)
    assert pareto([tied, best, faster]) == [2, 1]
    assert pareto([((0.8, 0.89), 0.8), best]) == [0, 1]  # faster beyond the noise of both


@pytest.fixture
def methods(run):
    runs = [run("ftl", None, s, val=0.9, test=0.8 + s / 10, params=9000) for s in (0, 1)]
    runs += [
        run("ttl", "block1.2", s, place=3, val=0.7, test=0.6 + s / 10, params=10) for s in (0, 1)
    ]
    runs += [run("ttl", "block2.2", s, place=5, val=0.8, test=0.9, params=400) for s in (0, 1)]
    runs += [run("lwft", "block2.2", 0, place=5, val=None, test=None)]
    return group(runs)[0].methods


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_validation_stands_beside_test_and_the_choice_is_ringed(methods) -> None:
    chosen = [m for m in methods if m.cutoff == "block2.2" or m.strategy == "ftl"]
    left, right = choice_figure(methods, chosen).axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("validation AUPRC", "test AUPRC")
    for axes, means, whole in ((left, [0.7, 0.8], 0.9), (right, [0.65, 0.9], 0.85)):
        drawn = lines(axes)
        np.testing.assert_allclose(drawn["TTL (truncated)"].get_ydata(), means)
        np.testing.assert_allclose(drawn["TTL (truncated)"].get_xdata(), [3, 5])
        np.testing.assert_allclose(drawn["full finetuning"].get_ydata(), [whole, whole])
        np.testing.assert_allclose(drawn["chosen on validation"].get_xydata(), [[5, means[1]]])


def test_costs_have_their_front(methods) -> None:
    left, right = tradeoff_figure(methods, methods[2:]).axes
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "parameters", "CPU latency (of the whole network's)",
    )  # fmt: skip
    np.testing.assert_allclose(lines(left)["Pareto front"].get_xydata(), [[10, 0.65], [400, 0.9]])
    np.testing.assert_allclose(lines(right)["Pareto front"].get_xdata(), [0.001, 0.04])
    assert [text.get_text() for text in left.texts] == ["block1.2", "block2.2"]


def test_methods_without_a_latency_are_on_no_front(run) -> None:
    runs = [run("ftl", None, test=0.8, ratio=1.0), run("ttl", "block1.2", test=0.9, ratio=None)]
    methods = group(runs)[0].methods
    left, right = tradeoff_figure(methods, methods).axes
    np.testing.assert_allclose(lines(left)["Pareto front"].get_xdata(), [1000])
    np.testing.assert_allclose(lines(right)["Pareto front"].get_xydata(), [[1.0, 0.8]])


def test_figures_of_nothing_are_drawn_all_the_same(run) -> None:
    (method,) = group([run(val=None, test=None)])[0].methods
    for figure in (choice_figure([method], [method]), tradeoff_figure([method], [method])):
        figure.savefig(io.BytesIO())


def test_variants_and_unknown_strategies_are_told_apart(run) -> None:
    runs = [run("own", "a", overrides=[f"x={x}"], folder=x) for x in "12"] + [run("new", "a")]
    figure = choice_figure(group(runs)[0].methods, [])
    drawn = [line for line in figure.axes[0].get_lines() if line.get_label()[0] != "_"]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 3
    assert [line.get_label() for line in drawn] == ["new", "own [x=1]", "own [x=2]"]


def test_a_swept_rate_makes_no_line_of_its_own() -> None:
    runs = []
    for rate, val, test in (("1e-3", 0.9, 0.6), ("3e-3", 0.8, 0.95)):
        for cutoff, index in (("block1.3", 4), ("block2.4", 8)):
            runs.append(trained("ttl", cutoff, index, 0, test))
            runs[-1].metrics["val/auprc"] = val
            runs[-1].overrides.extend([f"protocol.learning_rate={rate}"])
    _, axes = figure_of(runs).axes
    (line,) = axes.get_lines()
    assert line.get_label() == "TTL (truncated)"
    np.testing.assert_allclose(line.get_ydata(), [0.6, 0.6])  # chosen on validation, not on test


def test_seeds_that_agree_to_the_last_digit_are_drawn(run) -> None:
    """The mean of three times 0.8 is 0.8000000000000002, which no bar may start from."""
    methods = group([run(seed=seed, test=0.8) for seed in range(3)])[0].methods
    assert tradeoff_figure(methods, methods).axes
