"""What a new head begins with: random weights, zeros, or the linear probe of its features.

A random head sends random gradients into pretrained features before it has learnt anything, and
its first loss depends on which class has which number. The probe is a task's; see
`Task.probed_head`.
"""

from __future__ import annotations

import torch

from ttl_lightning.models.heads.linear import as_linear
from ttl_lightning.models.strategies.base import TransferModel


def zero_head(model: TransferModel) -> None:
    """Make every logit 0, so that the first loss is that of equal probabilities.

    Raises:
        ConfigError: if the head is not the linear one.
    """
    fc = as_linear(model.head, "protocol.head_init=zero").fc
    with torch.no_grad():
        fc.weight.zero_()
        fc.bias.zero_()
