"""Train all a little, and the better ones longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.errors import check_number
from ttl_lightning.search.base import (
    Method,
    Plan,
    Trial,
    ask,
    check_candidates,
    choose,
    counted,
    ranked,
)


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of successive halving.

    Attributes:
        candidates: how many are trained in it.
        epochs: how many epochs each of them has had at its end, in all.
        new_epochs: how many epochs are trained in it, all candidates together: its cost.
    """

    candidates: int
    epochs: int
    new_epochs: int


@dataclass(frozen=True)
class Halving(Method):
    """Successive halving over epochs: of each rung, the best 1 / eta are continued.

    It saves epochs where a good cutoff shows early, and loses one that is slow to train.

    Args:
        max_epochs: epochs of a whole training.
        eta: each rung keeps ceil(n / eta) of its n candidates, and trains them to eta times the
            epochs.
        min_epochs: epochs of the first rung.

    Raises:
        ConfigError: if an option is out of range.

    Source:
        Jamieson and Talwalkar 2016, Non-stochastic best arm identification and hyperparameter
        optimization, AISTATS, algorithm 1, https://arxiv.org/abs/1502.07943, with the factor eta
        of Li et al. 2018, Hyperband, JMLR 18(185).
    """

    name: ClassVar[str] = "halving"
    stops_early: ClassVar[bool] = True
    max_epochs: int
    eta: int = 3
    min_epochs: int = 1

    def __post_init__(self) -> None:
        check_number("max_epochs", self.max_epochs, 1, integer=True)
        check_number("eta", self.eta, 2, integer=True)
        check_number("min_epochs", self.min_epochs, 1, self.max_epochs, integer=True)

    def plan(self, candidates: Sequence[str]) -> Plan:
        """A batch a rung, in the stages `rung0`, `rung1`, …; see `Method.plan`.

        A trial's epochs are a total: a candidate that stays is continued from where it stopped.
        Candidates that fail drop out. Only those trained to the end can be chosen.
        """
        order = check_candidates(candidates)
        alive, rung = list(order), 0
        while True:
            epochs = self._epochs(rung, len(alive))
            outcomes = yield from ask([Trial(name, f"rung{rung}", epochs) for name in alive])
            kept = {trial.candidate for trial in ranked(outcomes, order)[: self._kept(len(alive))]}
            if epochs is None or not kept:
                until = "the end" if epochs is None else f"epoch {epochs}"
                among = f"{counted(len(alive))} trained to {until}"
                if len(alive) < len(order):
                    among += f" (of {len(order)} at the start)"
                return choose(outcomes, order, among)
            alive, rung = [name for name in alive if name in kept], rung + 1

    def rungs(self, candidates: int) -> list[Rung]:
        """The rungs for a number of candidates of which none fails.

        Raises:
            ConfigError: if it is not a positive integer.
        """
        check_number("candidates", candidates, 1, integer=True)
        result: list[Rung] = []
        done: int | None = 0
        while done is not None:
            epochs = self._epochs(len(result), candidates)
            total = self.max_epochs if epochs is None else epochs
            result.append(Rung(candidates, total, candidates * (total - done)))
            done, candidates = epochs, self._kept(candidates)
        return result

    def _epochs(self, rung: int, candidates: int) -> int | None:
        """Epochs that a rung trains to; None (to the end) for the last, or for one candidate."""
        epochs = self.min_epochs * self.eta**rung
        return epochs if candidates > 1 and epochs < self.max_epochs else None

    def _kept(self, candidates: int) -> int:
        return -(-candidates // self.eta)
