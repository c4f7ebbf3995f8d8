"""Temperature scaling: one number that makes a classifier as sure as it is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit

from ttl_lightning.metrics.classification import Labels, check_predictions, weighted_scores
from ttl_lightning.metrics.kernel import Floats

# Beyond these a temperature says that the network is of no use, or was not trained.
LEAST, MOST = 0.05, 20.0
_TINY = 1e-15


def scaled(probabilities: Floats, temperature: float, task: str) -> Floats:
    """Probabilities of the logits divided by the temperature; 1 changes nothing.

    Args:
        probabilities: (n, classes): their logarithms stand for the logits, up to a constant.
        temperature: above 1 makes them less sure.
        task: "binary", "multiclass" or "multilabel".
    """
    if task == "multilabel":
        odds: Floats = logit(np.clip(probabilities, _TINY, 1 - _TINY)) / temperature
        return np.asarray(expit(odds), np.float64)
    logs = np.log(np.clip(probabilities, _TINY, 1)) / temperature
    return np.exp(np.asarray(log_softmax(logs, axis=1), np.float64))


def log_loss(probabilities: Floats, labels: Labels, task: str) -> float:
    """Mean negative log-likelihood, over the entries that are labelled."""
    targets = check_predictions(probabilities, labels, task)
    likely = np.clip(probabilities, _TINY, 1)
    if task != "multilabel":
        return float(-np.log((likely * targets).sum(axis=1)).mean())
    unlikely = np.clip(1 - probabilities, _TINY, 1)
    entries = np.where(targets == 1, -np.log(likely), -np.log(unlikely))
    return float(entries[~np.isnan(targets)].mean())


def fitted_temperature(probabilities: Floats, labels: Labels, task: str) -> float | None:
    """The temperature of the least log loss; None where there is nothing to fit it to.

    Args:
        probabilities: (n, classes), of samples that were not trained on.
        labels: as `check_predictions` takes them.
        task: "binary", "multiclass" or "multilabel".

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    known = ~np.isnan(check_predictions(probabilities, labels, task))
    if not known.any() or not np.isfinite(probabilities).all():
        return None

    def loss(exponent: float) -> float:
        return log_loss(scaled(probabilities, math.exp(exponent), task), labels, task)

    bounds = (math.log(LEAST), math.log(MOST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def calibration(splits: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What a result keeps: the temperature, fitted on validation, and losses before and after.

    Args:
        splits: `val`, and `test`: with `probabilities` and `labels`.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        `temperature`, and by split `ece`, `ece_scaled`, `log_loss`, `log_loss_scaled`; nothing
        where no temperature can be fitted.
    """
    if "val" not in splits:
        return {}
    temperature = fitted_temperature(splits["val"].probabilities, splits["val"].labels, task)
    if temperature is None:
        return {}
    found: dict[str, Any] = {"temperature": temperature}
    for split, table in splits.items():
        if not np.isfinite(table.probabilities).all():
            continue
        raw, after = table.probabilities, scaled(table.probabilities, temperature, task)
        weights = np.ones((1, len(raw)))
        found[split] = {}
        for end, probabilities in (("", raw), ("_scaled", after)):
            plain, _ = weighted_scores(probabilities, table.labels, task, weights)
            found[split][f"ece{end}"] = _defined(float(plain["ece"][0]))
            found[split][f"log_loss{end}"] = log_loss(probabilities, table.labels, task)
    return found


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
