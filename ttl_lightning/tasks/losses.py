"""What training minimises, and the probabilities that logits stand for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ttl_lightning.errors import ConfigError, check_choice, check_number

LOSSES = ("cross_entropy", "focal")


def kind_of(data: Any) -> str:
    """What data that are set up are classified into: "binary", "multiclass" or "multilabel".

    Raises:
        ConfigError: if they have no classes.
    """
    if getattr(data, "measured", False):
        raise ConfigError("the data have numbers and no classes (data.numbers): task=regression.")
    if not data.exclusive:
        return "multilabel"
    return "binary" if data.num_classes == 2 else "multiclass"


def gamma_of(loss: str, focal_gamma: float) -> float:
    """The focal gamma of a loss by its name; 0 for plain cross entropy.

    Raises:
        ConfigError: an unknown loss, or a gamma that is negative.
    """
    check_choice("protocol.loss", loss, LOSSES)
    check_number("protocol.focal_gamma", focal_gamma, 0, 100)
    return focal_gamma if loss == "focal" else 0.0


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    task: str,
    class_weights: Tensor | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Mean cross entropy; multilabel: mean binary cross entropy over the entries that are labelled.

    For two classes it is the binary cross entropy of the difference of the logits. With a focal
    gamma above 0 each entry counts by (1 - p)^gamma, p being the probability of its true class; the
    mean is still that of the weights.

    Args:
        logits: (N, classes).
        labels: class indices (N,), or in multilabel 0, 1 or NaN for not labelled, (N, classes).
        task: "binary", "multiclass" or "multilabel".
        class_weights: (classes,); in multilabel the weight of a positive.
        focal_gamma: 0 is plain cross entropy.

    Source: Lin et al., "Focal loss for dense object detection", eq. 4.
    """
    if task != "multilabel":
        if not focal_gamma:
            return F.cross_entropy(logits, labels, weight=class_weights)
        entries = focal(F.cross_entropy(logits, labels, reduction="none"), focal_gamma)
        weights = torch.ones_like(entries) if class_weights is None else class_weights[labels]
        return (entries * weights).sum() / weights.sum()
    known = ~labels.isnan()
    targets = torch.where(known, labels, 0.0).to(logits.dtype)
    entries = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if focal_gamma:
        entries = focal(entries, focal_gamma)
    if class_weights is not None:
        entries = entries * (1 + (class_weights - 1) * targets)
    return torch.where(known, entries, 0.0).sum() / known.sum().clamp(min=1)


def focal(cross_entropy: Tensor, gamma: float) -> Tensor:
    """Cross entropies, -log p, times (1 - p)^gamma."""
    # 1 - exp(-x) without cancellation; a floor, since a power's slope at 0 may be infinite
    missed = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).eps)
    return missed**gamma * cross_entropy


def class_probabilities(logits: Tensor, task: str) -> Tensor:
    """Softmax, or in multilabel sigmoid, in float64: in float32 large logits would tie at 1.

    Args:
        logits: (N, classes), on any device.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        (N, classes), float64, on the CPU.
    """
    exact = logits.detach().cpu().double()
    return exact.sigmoid() if task == "multilabel" else exact.softmax(dim=1)


def mean_over_views(logits: Tensor, task: str) -> Tensor:
    """Logits of the mean of the views' probabilities, by sums of exponents: never infinite.

    Args:
        logits: (N, views, classes), on any device.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        (N, classes), float64, on the CPU.
    """
    exact = logits.detach().cpu().double()
    if task == "multilabel":
        return F.logsigmoid(exact).logsumexp(1) - F.logsigmoid(-exact).logsumexp(1)
    return exact.log_softmax(2).logsumexp(1) - math.log(logits.shape[1])


def missed_by(probabilities: Tensor, labels: Tensor, task: str) -> Tensor:
    """How far each sample is from being right, (N,): what its true class lacks of probability 1.

    Of several labels, the one that is most wrong counts.

    Args:
        probabilities: (N, classes).
        labels: as `classification_loss` takes them.
        task: "binary", "multiclass" or "multilabel".
    """
    if task == "multilabel":
        return (probabilities - labels).abs().nan_to_num().amax(1)
    return 1 - probabilities[torch.arange(len(labels)), labels]


def true_and_predicted(probabilities: Tensor, labels: Tensor, task: str) -> tuple[Tensor, Tensor]:
    """True and predicted class; of several labels, the one that is most wrong stands for both."""
    if task != "multilabel":
        return labels, probabilities.argmax(1)
    worst = (probabilities - labels).abs().nan_to_num().argmax(1)
    return worst, worst
