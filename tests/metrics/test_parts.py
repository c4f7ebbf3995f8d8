import math

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.report.scored_cases import components, draw
from ttl_lightning.errors import DataError
from ttl_lightning.metrics.parts import auprc_parts, auroc_parts


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auroc_parts_are_delongs_components(seed, ties) -> None:
    positive, (scores,), _ = draw(np.random.default_rng(seed), ties=ties)
    area, parts = auroc_parts(scores, positive)
    assert area == pytest.approx(sk.roc_auc_score(positive, scores), abs=1e-12)
    v10, v01 = components(scores, positive)
    variance = v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)
    assert parts @ parts == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("digits", [1, 2, 9])
@pytest.mark.parametrize("seed", range(10))
def test_auprc_parts_are_the_jackknife_of_scikit_learns_average_precision(seed, digits) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = np.round(rng.random(40), digits), rng.random(40) < 0.3
    positive[:4] = [True, True, False, False]
    area, parts = auprc_parts(scores, positive)
    assert area == pytest.approx(sk.average_precision_score(positive, scores), abs=1e-12)
    kept = ~np.eye(40, dtype=bool)
    without = np.array([sk.average_precision_score(positive[k], scores[k]) for k in kept])
    expected = (without.mean() - without) * math.sqrt(39 / 40)
    np.testing.assert_allclose(parts, expected, atol=1e-12)


@pytest.mark.parametrize("metric", [auroc_parts, auprc_parts])
def test_one_of_a_kind_has_no_spread(metric) -> None:
    with pytest.raises(DataError, match="one test sample only"):
        metric(np.arange(5.0), np.arange(5) == 2)


@pytest.mark.parametrize("metric", [auroc_parts, auprc_parts])
def test_parts_tell_how_far_the_metric_moves_with_other_images(metric) -> None:
    """The mean of the estimated variances is that of the values over many draws of images."""
    rng, values, estimated = np.random.default_rng(0), [], []
    for _ in range(1500):
        positive = rng.random(150) < 1 / 3
        value, parts = metric(rng.normal(size=150) + 1.2 * positive, positive)
        values.append(value)
        estimated.append(parts @ parts)
    # A ratio of variances of 1,500 draws has a standard error of 4 %.
    assert np.mean(estimated) / np.var(values) == pytest.approx(1, abs=0.15)
