"""The head that classifies: the average of the last map, or all of it, and a linear layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone


class LinearHead(nn.Module):
    """Global average pooling or the flattened map, and one linear layer.

    `(N, C, *spatial)` to `(N, num_classes)`.
    """

    needs = "last"

    def __init__(self, in_shape: Sequence[int], num_classes: int, *, pooling: bool) -> None:
        super().__init__()
        self.pooling = pooling
        in_features = in_shape[0] if pooling else math.prod(in_shape)
        self.fc = nn.Linear(in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a feature map."""
        if x.device.type == "meta":  # a shape alone, for which torch knows no autocast
            return cast(Tensor, self.fc(self.pooled(x)))
        # Not in bfloat16, whose few digits would make ties of different logits.
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.fc(self.pooled(x.to(self.fc.weight.dtype))))

    def pooled(self, x: Tensor) -> Tensor:
        """What the linear layer takes of a feature map, (N, features)."""
        # A mean, not adaptive pooling: its backward pass is not deterministic on CUDA.
        return x.flatten(2).mean(2) if self.pooling else x.flatten(1)


def linear_head(
    backbone: Backbone, spatial: Sequence[int], num_classes: int, *, pooling: bool = True
) -> LinearHead:
    """The linear head of a backbone's last map, for inputs of this spatial size."""
    in_shape = backbone.channels[-1:] if pooling else backbone.output_shape(spatial)
    return LinearHead(in_shape, num_classes, pooling=pooling)


def zero_head(head: nn.Module) -> None:
    """Make every logit 0, so that the first loss is that of equal probabilities.

    A random head sends random gradients into pretrained features before it has learnt anything, and
    its first loss depends on which class has which number.

    Raises:
        ConfigError: if the head is not the linear one.
    """
    fc = as_linear(head, "protocol.head_init=zero").fc
    with torch.no_grad():
        fc.weight.zero_()
        fc.bias.zero_()


def as_linear(head: nn.Module, what: str) -> LinearHead:
    """The head, where only the linear one will do.

    Raises:
        ConfigError: if it is another; it names `what` needs it.
    """
    if not isinstance(head, LinearHead):
        raise ConfigError(f"{what} needs the linear head, the model has {type(head).__name__}.")
    return head
