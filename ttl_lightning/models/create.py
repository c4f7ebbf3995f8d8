"""Make a model: a backbone, split by a strategy, with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttl_lightning.errors import ConfigError, check_choice, check_number
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.heads import HeadMaker, head_maker
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.models.strategies.base import TransferModel


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
    head: str | HeadMaker = "linear",
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
        head: a name of `heads.HEADS`, or what makes a head of the split backbone, the spatial size
            of the input and num_classes (`heads` says more).

    Raises:
        UnknownNameError: if the strategy, the backbone, the cutoff or the head is unknown.
        ConfigError: if the cutoff is missing or given in vain, the input is too small or has
            another number of dimensions, or another head than the linear one shall not pool.
        WeightsError: if the weights cannot be used.
    """
    check_choice("strategy", strategy, STRATEGIES)
    check_number("num_classes", num_classes, 1, integer=True)
    plan = STRATEGIES[strategy]
    plan.check_cutoff(cutoff)
    if not pooling and head != "linear":
        raise ConfigError(f"pooling=False is for head=linear, got head={head!r}.")
    make_head = head_maker(head if pooling else "linear_unpooled")
    at = "full" if cutoff is None else cutoff
    needed = "full" if plan.keeps_rest else at
    backbone = create_backbone(name, weights, in_channels, needed, image_size)
    unit = backbone.resolve(at)
    split = plan.split(backbone, unit)
    spatial = backbone.input_shape(image_size)[1:]
    split.output_shape(spatial)  # the network's own word about inputs that are too small
    return TransferModel(split, make_head(split, spatial, num_classes), plan, unit)
