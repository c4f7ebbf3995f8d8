"""Train all a little, and the better ones longer."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.errors import check_number
from ttl_lightning.search.base import (
    Method,
    Outcome,
    Outcomes,
    Plan,
    Trial,
    ask,
    check_candidates,
    choose,
    counted,
    ranked,
)
from ttl_lightning.search.neighbourhood import Radius, block_ends, check_radius, layers_around


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

    The candidates are those of the hierarchical search: a race of the blocks' ends finds where to
    look, one of the layers around the winner, with it, goes on to the end. It saves epochs where a
    good cutoff shows early, and loses one that is slow to train.

    Args:
        max_epochs: epochs of a whole training.
        eta: each rung keeps ceil(n / eta) of its n candidates, and trains them to eta times the
            epochs.
        min_epochs: epochs of the first rung.
        radius: as of `Hierarchical`; with "all" every candidate runs in one race.

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
    eta: int = 4
    min_epochs: int = 1
    radius: Radius = None

    def __post_init__(self) -> None:
        check_radius(self.radius)
        check_number("max_epochs", self.max_epochs, 1, integer=True)
        check_number("eta", self.eta, 2, integer=True)
        check_number("min_epochs", self.min_epochs, 1, self.max_epochs, integer=True)

    def plan(self, candidates: Sequence[str]) -> Plan:
        """A batch a rung, in the stages `block rung0`, …, `layer rung0`, …; see `Method.plan`.

        A trial's epochs are a total: a candidate that stays is continued from where it stopped, and
        what is asked of the blocks' winner again costs nothing. Candidates that fail drop out. Only
        those trained to the end can be chosen.
        """
        order = check_candidates(candidates)
        field, tried = list(order), len(order)
        if self.radius != "all":
            ends = block_ends(order)
            outcomes, best_first = yield from self._race(ends, order, "block ", to_end=False)
            if not best_first:
                return choose(outcomes, order, counted(len(ends)))
            layers = layers_around(order, ends, best_first[0], self.radius)
            field = [name for name in order if name in {best_first[0], *layers}]
            tried = len(ends) + len(layers)
        stage = "" if self.radius == "all" else "layer "
        outcomes, _ = yield from self._race(field, order, stage, to_end=True)
        epochs = {trial.epochs for trial in outcomes}
        until = "the end" if epochs == {None} else f"epoch {epochs.pop()}"
        among = f"{counted(len(outcomes))} trained to {until}"
        if len(outcomes) < tried:
            among += f" (of {tried} at the start)"
        return choose(outcomes, order, among)

    def _race(
        self, field: Sequence[str], order: Sequence[str], stage: str, *, to_end: bool
    ) -> Generator[list[Trial], Outcomes, tuple[Outcomes, list[str]]]:
        """Run rungs to the end, or until one is left.

        Returns:
            The last rung's outcomes, and who is still in the race, best first.
        """
        alive, rung, outcomes = list(field), 0, dict[Trial, Outcome]()
        best_first = alive[:1]
        while to_end or len(alive) > 1:
            epochs = self._epochs(rung, len(alive))
            trials = [Trial(name, f"{stage}rung{rung}", epochs) for name in alive]
            outcomes = yield from ask(trials)
            best_first = [trial.candidate for trial in ranked(outcomes, order)]
            kept = best_first[: self._kept(len(alive))]
            if epochs is None or not kept:
                break
            alive, rung = [name for name in alive if name in kept], rung + 1
        return outcomes, best_first

    def rungs(self, candidates: int) -> list[Rung]:
        """The rungs of one race to the end, for a number of candidates of which none fails.

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
