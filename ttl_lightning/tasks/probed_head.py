"""A head that begins as the linear probe of its features.

Source: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution, ICLR 2022: LP-FT fits the linear probe first, then finetunes from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.errors import DataError
from ttl_lightning.models.heads.linear import LinearHead, as_linear
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.tasks.probes import CHOSEN_BY, LABELS, Labelled, Linear, ProbeResult, probe

log = logging.getLogger(__name__)

Batches = Iterable[Mapping[str, Tensor]]


def probed_head(model: TransferModel, splits: Mapping[str, Batches], task: str) -> ProbeResult:
    """Fit a linear classifier to what the head takes, and give it to the head.

    Args:
        model: on the device where it shall compute; its mode is restored.
        splits: `train` and `val`, of batches with images as `image` and labels as `label`, prepared
            as for evaluation.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        what the probe reaches on validation, with the penalty that was chosen there.

    Raises:
        DataError: as `probes.probe`.
        ConfigError: if the head is not the linear one.
    """
    linear = as_linear(model.head, "protocol.head_init=probe")
    found = probe({name: _labelled(model, linear, part) for name, part in splits.items()}, task)
    weight, bias = _logits_of(found.classifier, task)
    head = linear.fc
    if weight.shape != head.weight.shape:
        raise DataError(
            f"the probe tells {len(bias)} classes apart, the head has {head.out_features}: the "
            "training split lacks the last class. Give protocol.head_init=random or zero."
        )
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    score = "undefined" if found.score is None else f"{found.score:.3f}"
    log.info("head: from a linear probe, validation %s %s", LABELS[CHOSEN_BY], score)
    return found


def _logits_of(classifier: Linear, task: str) -> tuple[np.ndarray, np.ndarray]:
    """A row a logit; the two logits of a binary task share its log-odds between them."""
    weight, bias = (np.nan_to_num(part, nan=0.0) for part in classifier)
    if task != "binary":
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


def _labelled(model: TransferModel, head: LinearHead, batches: Batches) -> Labelled:
    device = head.fc.weight.device
    was_training = model.training
    model.eval()
    features, labels = [], []
    try:
        with torch.no_grad():
            for batch in batches:
                maps = model.backbone(batch["image"].to(device))
                features.append(head.pooled(maps).double().cpu().numpy())
                labels.append(batch["label"].cpu().numpy())
    finally:
        model.train(was_training)
    return Labelled(np.concatenate(features), np.concatenate(labels))
