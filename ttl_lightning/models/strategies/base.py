"""The model that a strategy gives: the backbone that it has split, and a new head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict, cast

from torch import Tensor, nn
from torch.nn import functional

from ttl_lightning.errors import check_number
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.heads import check_head
from ttl_lightning.models.heads.linear import LinearHead
from ttl_lightning.models.strategies.strategy import Strategy

Head = LinearHead  # its name of before


class ParamGroup(TypedDict):
    """One of an optimizer's parameter groups."""

    name: str
    params: list[nn.Parameter]
    lr: NotRequired[float]


class TransferModel(nn.Module):
    """A backbone that a strategy has split, and a new head.

    `(N, C, *spatial)` to what the head gives: `(N, num_classes)` logits of a linear one,
    `(N, num_classes, *spatial)` of a U-Net's.

    Raises:
        UnknownNameError: if the head does not say what it needs.
    """

    def __init__(
        self, backbone: Backbone, head: nn.Module, strategy: Strategy, cutoff: str
    ) -> None:
        super().__init__()
        check_head(head)
        self.backbone, self.head = backbone, head
        self.strategy, self.cutoff = strategy, cutoff

    def forward(self, x: Tensor) -> Tensor:
        """The logits of images or volumes."""
        if self.head.needs == "last":
            return self.decoded((self.backbone(x),), x.shape[2:])
        return self.decoded(self.backbone.pyramid(self.enlarged(x)), x.shape[2:])

    def decoded(self, maps: tuple[Tensor, ...], spatial: Sequence[int]) -> Tensor:
        """What the head makes of the backbone's maps, the last or all, for inputs of this size."""
        if self.head.needs == "last":
            return cast(Tensor, self.head(maps[-1]))
        logits: Tensor = self.head(maps)
        if any(shape.short for unit in self.backbone.units for shape in unit.shapes):
            logits = functional.interpolate(logits, size=tuple(spatial), mode="nearest")
        for axis, size in enumerate(spatial, 2):
            logits = logits.narrow(axis, 0, size)
        return logits

    def enlarged(self, x: Tensor) -> Tensor:
        """For a pyramid, repeat the last pixels until every resolution divides each axis's size."""
        if self.head.needs == "last":
            return x
        coarsest = self.backbone.reductions[-1]
        more = [-size % by for size, by in zip(x.shape[2:], coarsest, strict=True)]
        return functional.pad(x, [n for by in reversed(more) for n in (0, by)], mode="replicate")

    def param_groups(self, lr: float, pretrained_lr_factor: float = 1.0) -> list[ParamGroup]:
        """What the optimizer takes: the head at lr, the backbone's units at their multiples of it.

        Units with pretrained weights get the smaller of the strategy's multiple and
        `pretrained_lr_factor`; a group "new" holds the others where that makes a difference.

        Raises:
            ConfigError: if lr or the factor is not positive.
        """
        check_number("protocol.learning_rate", lr, 1e-12)
        check_number("protocol.pretrained_lr_factor", pretrained_lr_factor, 1e-12)
        tuned = self.strategy.tuned_lr_factor
        pretrained = min(tuned, pretrained_lr_factor)
        slower = self.backbone.pretrained_units if pretrained < tuned else self.backbone.units
        old = [p for p in self.backbone.parameters_of(slower) if p.requires_grad]
        known = {id(parameter) for parameter in old}
        new = [p for p in self.backbone.parameters() if p.requires_grad and id(p) not in known]
        groups: list[ParamGroup] = [
            {"name": "head", "params": list(self.head.parameters()), "lr": lr},
            {"name": "new", "params": new, "lr": lr * tuned},
            {"name": "backbone", "params": old, "lr": lr * pretrained},
        ]
        return [group for group in groups if group["params"]]
