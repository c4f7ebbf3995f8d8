"""One frozen unit fewer each time, until it is good enough or no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import ClassVar

from ttl_lightning.errors import ConfigError, check_number
from ttl_lightning.search.base import Choice, Method, Plan, Trial, ask, check_candidates, counted


@dataclass(frozen=True)
class Incremental(Method):
    """How layer-wise finetuning picks its freeze point.

    It starts with the last candidate, where every unit is frozen and the head alone is trained, and
    frees one unit more each time. Every trial starts from the pretrained weights, not from the
    trial before.

    Args:
        target: the score that is good enough; None looks for the best.
        patience: number of trials in a row without a higher score after which to stop. A failed
            trial is one of them.

    Raises:
        ConfigError: if an option is out of range.

    Source:
        Tajbakhsh et al. 2016, Convolutional neural networks for medical image analysis: full
        training or fine tuning?, IEEE Transactions on Medical Imaging 35(5). It gives no stopping
        rule in numbers: the target and the patience are ours.
    """

    name: ClassVar[str] = "incremental"
    frees: ClassVar[bool] = True
    target: float | None = None
    patience: int = 2

    def __post_init__(self) -> None:
        target = self.target
        number = isinstance(target, Real) and not isinstance(target, bool)
        if target is not None and not (number and math.isfinite(target)):
            raise ConfigError(f"target must be null or a finite number, got {target!r}.")
        check_number("patience", self.patience, 1, integer=True)

    def toward(self, sign: float) -> Method:
        """As `Method.toward`: of the target."""
        return self if self.target is None else replace(self, target=sign * self.target)

    def plan(self, candidates: Sequence[str]) -> Plan:
        """One trial a batch, in the stage `unfreeze`, from the output side; see `Method.plan`.

        Ties go to the candidate with fewer trained units, which was tried earlier.
        """
        order = check_candidates(candidates)
        top: tuple[str, float] | None = None
        tried = idle = 0
        for name in reversed(order):
            trial = Trial(name, "unfreeze")
            score = (yield from ask([trial]))[trial].value
            tried += 1
            idle += 1
            if score is not None and (top is None or score > top[1]):
                top, idle = (name, score), 0
                if self.target is not None and score >= self.target:
                    break
            if idle == self.patience:
                break
        return self._choice(top, tried, idle)

    def _choice(self, top: tuple[str, float] | None, tried: int, idle: int) -> Choice:
        if top is None:
            return Choice(None, f"None of {counted(tried)} could be scored.")
        name, score = top
        if self.target is not None and score >= self.target:
            reason = f"{name} is the first to reach the target of {self.target:.4g} ({score:.4g})"
            return Choice(name, f"{reason}, after {counted(tried)} from the output side.")
        reason = f"{name} scored best ({score:.4g}) of {counted(tried)} from the output side"
        if idle == self.patience:
            reason += f"; the last {idle} brought nothing better"
        if self.target is not None:
            reason += f"; none reached the target of {self.target:.4g}"
        return Choice(name, f"{reason}.")
