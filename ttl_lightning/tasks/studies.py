"""From windows to studies: one prediction for each study, from those of its windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.metrics.classification import Labels
from ttl_lightning.metrics.kernel import Floats


def by_study(
    probabilities: Floats, studies: npt.NDArray[np.int64], study_labels: Labels, task: str
) -> Predictions:
    """A study is as positive as the most positive of its windows.

    Binary: the positive class has the windows' maximum. Multilabel: each label has its own.
    Multiclass: each class has its maximum, divided by their sum.

    Args:
        probabilities: of windows, (n, classes).
        studies: number of each window's study, (n,).
        study_labels: label of each window's study: (n,), or in multilabel (n, classes).
        task: "binary", "multiclass" or "multilabel".

    Source: PENet (Huang et al., npj Digital Medicine 2020), Methods: a series' probability is the
        maximum over its windows.
    """
    ids, first, window = np.unique(studies, return_index=True, return_inverse=True)
    highest = np.zeros((len(ids), probabilities.shape[1]))
    np.maximum.at(highest, window, probabilities)
    if task == "binary":
        highest[:, 0] = 1 - highest[:, 1]
    elif task == "multiclass":
        highest /= highest.sum(1, keepdims=True)
    return Predictions(ids, highest, study_labels[first])
