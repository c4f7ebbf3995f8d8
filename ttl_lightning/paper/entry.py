"""What a table or figure is made of: sweeps, analyses of their runs, and the rows that are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SCALES = ("full", "small")
Published = Mapping[str, float]
"""By name of a column: a mean, of `params_m` millions, of `macs_g` 10^9 multiply-adds."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Trainings that are started by one command, and go on with the same.

    Attributes:
        name: of its folder.
        args: of the command, behind `-m`.
        small: what is said instead of `data` at `--scale small`, and of `args` by the same keys.
        data: further arguments of the command that are about the paper's own data.
        after: a sweep whose best full finetuning gives the weights that this one begins with.
    """

    name: str
    args: tuple[str, ...]
    small: tuple[str, ...]
    data: tuple[str, ...] = ()
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """Runs of a sweep; of several settings the best of validation.

    Attributes:
        sweep: its name.
        strategy: theirs.
        cutoffs: "blocks" takes those that end a block, "all" any.
    """

    sweep: str
    strategy: str
    cutoffs: str = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the paper's, and the runs that stand for it."""

    label: str
    pick: Pick
    published: Published = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analysis:
    """`ttl-lightning analyze KIND` of a run.

    Attributes:
        kind: of analysis.
        of: the run: the best of validation of those picked.
        others: further runs, for kinds that show several.
        args: its options.
    """

    kind: str
    of: Pick
    others: tuple[Pick, ...] = ()
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A table or figure.

    Attributes:
        title: what it shows.
        needs: the data that it wants, in words, with the key that says where they lie.
        epochs: at most, of each training.
        images: of the training split, as published or known.
        trainings: how many there are, about.
        macs_g: of the whole network, 10^9 multiply-adds a sample.
        every: all settings of the sweeps are listed, a row each, as in a figure over cutoffs.
        notes: what the paper leaves open, and where the numbers come from.
    """

    name: str
    title: str
    needs: str
    sweeps: tuple[Sweep, ...]
    rows: tuple[Row, ...] = ()
    analyses: tuple[Analysis, ...] = ()
    metrics: tuple[str, ...] = ("auroc", "auprc")
    epochs: int = 200
    images: int = 0
    trainings: int = 0
    macs_g: float = 4.12
    every: bool = False
    notes: tuple[str, ...] = ()
