"""Heads: what turns a backbone's maps into the result. A file each, and a line in `HEADS`.

A head is a module with a class attribute `needs`: the backbone's "last" map, or its "pyramid", the
tuple of maps that `Backbone.pyramid` gives, from which it makes a map of the input's size (the
model sees to it that every resolution divides that size). What makes one is given the backbone as
the strategy left it, the spatial size of the inputs, and the number of classes: a class with these
arguments, or a function. `Backbone.channels` and `Backbone.reductions` say what the maps of the
pyramid are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from ttl_lightning.errors import check_choice
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.heads.linear import linear_head
from ttl_lightning.models.heads.unet import unet_head

NEEDS = ("last", "pyramid")

HeadMaker = Callable[[Backbone, tuple[int, ...], int], nn.Module]

HEADS: dict[str, HeadMaker] = {
    "linear": linear_head,
    "linear_unpooled": partial(linear_head, pooling=False),
    "unet": unet_head,
}


def head_maker(head: str | HeadMaker) -> HeadMaker:
    """What makes the head of a name, or what is given.

    Raises:
        UnknownNameError: if there is no head of that name.
    """
    if not isinstance(head, str):
        return head
    check_choice("head", head, HEADS)
    return HEADS[head]


def check_head(head: nn.Module) -> None:
    """Demand that a head says what it needs.

    Raises:
        UnknownNameError: if its attribute `needs` is missing or none of `NEEDS`.
    """
    check_choice(f"needs of the head {type(head).__name__}", getattr(head, "needs", None), NEEDS)
