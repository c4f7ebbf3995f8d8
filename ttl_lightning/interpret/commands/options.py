"""What each kind of analysis takes on the command line; imports nothing that takes seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttl_lightning.interpret.defaults import THRESHOLD, VARIANCE_KEPT


@dataclass(frozen=True, slots=True)
class Images:
    """The split whose images are passed, at most how many, and `variance` as of `svcca.whiten`."""

    split: str = "test"
    most: int | None = None
    variance: float = VARIANCE_KEPT


@dataclass(frozen=True, slots=True)
class Transfer(Images):
    """The seed of the permutations."""

    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cross(Images):
    """Whether the last `units` of stem, blocks and tail are compared, or "all".

    That takes memory for the covariances of every pair.
    """

    units: str = "blocks"


@dataclass(frozen=True, slots=True)
class Probe:
    """How many samples of each split at most."""

    most: int | None = None


@dataclass(frozen=True, slots=True)
class Detect(Images):
    """As of `detection.detect`, and which units may be chosen. Nothing is ever chosen on test."""

    split: str = "val"
    threshold: float = THRESHOLD
    statistic: str = "excess"
    units: str = "all"


@dataclass(frozen=True, slots=True)
class Gradcam:
    """See `gradcam.explain`; `others` are folders of further runs."""

    split: str = "test"
    select: str = "wrong"
    count: int = 8
    ids: list[str] = field(default_factory=list)
    target: str = "predicted"
    unit: str | None = None
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Visualize:
    """The unit (null: the last), its channels, or how many of the first ones."""

    unit: str | None = None
    channels: list[int] = field(default_factory=list)
    count: int = 8
    steps: int = 256
    seed: int = 0
