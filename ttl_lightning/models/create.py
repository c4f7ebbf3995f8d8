"""Make a model: a backbone, split by a strategy, with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import check_choice, check_number
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.models.strategies.base import Head, TransferModel


def list_strategies() -> list[str]:
    """The values of `strategy=`."""
    return list(STRATEGIES)


def create_model(
    name: str,
    strategy: str = "ttl",
    cutoff: str | int | None = None,
    num_classes: int = 2,
    weights: str | Path | None = "imagenet",
    *,
    pooling: bool = True,
    in_channels: int = 3,
    image_size: int | Sequence[int] = 224,
) -> TransferModel:
    """Build a backbone, split it, and put a new head on it.

    Args:
        name: the backbone, as in `create_backbone`.
        strategy: one of `list_strategies()`.
        cutoff: a unit (`block3`, `block3.4`, `14`); only for strategies that split at one.
        num_classes: number of logits.
        weights: as in `create_backbone`.
        pooling: average the map before the linear layer; without it the layer takes the flattened
            map of inputs of `image_size`.
        in_channels: channels of the input.
        image_size: spatial size of the input: `[height, width]`, for volumes `[slices, height,
            width]`, or one number for every dimension.

    Raises:
        UnknownNameError: if the strategy, the backbone or the cutoff is unknown.
        ConfigError: if the cutoff is missing or given in vain, or the input is too small or
            has another number of dimensions.
        WeightsError: if the weights cannot be used.
    """
    check_choice("strategy", strategy, STRATEGIES)
    check_number("num_classes", num_classes, 1, integer=True)
    plan = STRATEGIES[strategy]
    plan.check_cutoff(cutoff)
    at = "full" if cutoff is None else cutoff
    needed = "full" if plan.keeps_rest else at
    backbone = create_backbone(name, weights, in_channels, needed)
    unit = backbone.resolve(at)
    split = plan.split(backbone, unit)
    split.weights_report = backbone.weights_report
    spatial = backbone.input_shape(image_size)[1:]
    head = Head(split.output_shape(spatial), num_classes, pooling=pooling)
    return TransferModel(split, head, plan, unit)
