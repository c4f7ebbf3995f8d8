import statistics

import numpy as np

from ttl_lightning.report.cutoffs import cutoff_figure
from ttl_lightning.results import RunResult


def run(strategy, cutoff, index, seed, auroc, params=1000) -> RunResult:
    result = RunResult("n", "npz", "resnet50", strategy, cutoff, index, seed)
    result.metrics = {"test/auroc": auroc}
    result.complexity = {"params": params}
    return result


def test_seeds_are_averaged_and_cutoffs_are_in_order() -> None:
    runs = [
        run("ttl", "block2.4", 8, 0, 0.9),
        run("ttl", "block1.3", 4, 0, 0.7),
        run("ttl", "block2.4", 8, 1, 0.8),
        run("ttl", "block3.6", 14, 0, None),
        run("ftl", None, None, 0, 0.85, 9000),
    ]
    left, right = cutoff_figure(runs).axes
    lines = {line.get_label(): line for line in left.get_lines()}
    cut = lines["TTL (truncated)"]
    np.testing.assert_allclose(cut.get_xdata(), [4, 8])
    np.testing.assert_allclose(cut.get_ydata(), [0.7, statistics.mean([0.9, 0.8])])
    np.testing.assert_allclose(lines["full finetuning"].get_ydata(), [0.85, 0.85])
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["block1", "block2"]
    assert right.get_xscale() == "log"


def test_two_cutoffs_of_one_block_keep_their_names() -> None:
    runs = [run("ttl", "block3.4", 12, 0, 0.9), run("ttl", "block3.6", 14, 0, 0.8)]
    left, _ = cutoff_figure(runs).axes
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["block3.4", "block3.6"]
