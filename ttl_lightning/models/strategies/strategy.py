"""What a strategy is, for all that name one; imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttl_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.base import Backbone


@dataclass(frozen=True, slots=True)
class Strategy:
    """What becomes of the units up to the cutoff, and of those after it.

    Attributes:
        name: the value of `strategy=`.
        summary: one line for people.
        label: its name in tables and figures.
        color: of its lines in figures; told apart from the others' by the colour-blind, too.
        split: makes the backbone to train from the pretrained one, which it must not change, and a
            unit's name.
        needs_cutoff: whether the split is at a cutoff of the user's choice.
        keeps_rest: whether the pretrained weights of the units after the cutoff are used.
        tuned_lr_factor: learning rate of the backbone's trained units, as a multiple of the head's.
    """

    name: str
    summary: str
    label: str
    color: str
    split: Callable[[Backbone, str], Backbone]
    needs_cutoff: bool
    keeps_rest: bool = True
    tuned_lr_factor: float = 1.0

    def check_cutoff(self, cutoff: str | int | None) -> None:
        """Demand a cutoff where the strategy splits at one, and none where it does not.

        Raises:
            ConfigError: if it is missing, or given in vain.
        """
        if self.needs_cutoff and cutoff is None:
            raise ConfigError(
                f"strategy={self.name} needs a cutoff: give cutoff=block3, for instance."
            )
        if not self.needs_cutoff and cutoff is not None:
            raise ConfigError(
                f"strategy={self.name} takes no cutoff, got cutoff={cutoff!r}: leave it out."
            )
