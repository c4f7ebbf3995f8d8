"""Predictions that tests of differences draw."""

import numpy as np

from ttl_lightning.metrics.paired import Scored


def scored(scores, targets, prefix="") -> Scored:
    """A table of images named by their place; a number as prefix is the first one's place."""
    scores, targets = (np.asarray(a, float) for a in (scores, targets))
    if scores.ndim == 1:
        scores, targets = scores[:, None], targets[:, None]
    first, text = (prefix, "") if isinstance(prefix, int) else (0, prefix)
    return Scored(tuple(f"{text}{first + i}" for i in range(len(scores))), scores, targets)


def draw(rng, n=60, *, seeds=1, ties=False):
    """Labels, and two methods' scores by seed: (seeds, n) each."""
    positive = rng.random(n) < 0.4
    positive[:4] = [True, True, False, False]
    shared = rng.normal(size=n) + positive
    tables = [shared + rng.normal(size=(seeds, n)) for _ in range(2)]
    return positive, *(np.round(table) if ties else table for table in tables)


def components(scores, positive):
    """V10 and V01 by their definition: one pair of images after the other."""
    first, second = scores[positive], scores[~positive]
    kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in second] for x in first])
    return kernel.mean(axis=1), kernel.mean(axis=0)
