"""Signs in a classifier's test predictions that it has not learnt at all."""

from __future__ import annotations

import math

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.paired import Scored, mean_over_classes
from ttl_lightning.metrics.parts import auroc_parts

# A class of fewer test samples than this share may rightly never be the likeliest.
RARE = 0.2
Z95 = 1.96


def at_chance(table: Scored) -> bool:
    """Whether the 95 % interval of AUROC, by DeLong, reaches 0.5."""
    try:
        area, parts = mean_over_classes(auroc_parts, table)
    except DataError:
        return False  # what cannot be computed is said where it is compared
    return area - Z95 * math.sqrt(float(parts @ parts)) <= 0.5


def one_class_alone(table: Scored, task: object = None) -> bool:
    """Whether one class is the likeliest of every sample, while another is not rare.

    Labels that may occur together have no likeliest one.
    """
    if task == "multilabel" or np.isnan(table.targets).any():
        return False
    scores, targets = table.scores, table.targets
    if scores.shape[1] == 1:
        scores, targets = (np.hstack([1 - both, both]) for both in (scores, targets))
    likeliest = scores.argmax(axis=1)
    if (likeliest != likeliest[0]).any():
        return False
    return bool((np.delete(targets.mean(axis=0), likeliest[0]) >= RARE).any())
