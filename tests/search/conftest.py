from collections.abc import Callable, Mapping

import pytest

from ttl_lightning.search import Choice, Method, Outcome, Trial

Drive = Callable[..., tuple[list[list[tuple[str, str, int | None]]], Choice]]


@pytest.fixture
def resnet50() -> list[str]:
    """The cutoffs of a ResNet-50: a stem, and blocks of 3, 4, 6 and 3 units."""
    units = [f"block{b}.{u}" for b, n in enumerate((3, 4, 6, 3), 1) for u in range(1, n + 1)]
    return ["stem", *units]


@pytest.fixture
def drive() -> Drive:
    """Play a method against a table of scores: its batches, and its choice."""

    def play(
        method: Method,
        scores: Mapping[str, float | None],
        sizes: Mapping[str, float] | None = None,
    ) -> tuple[list[list[tuple[str, str, int | None]]], Choice]:
        plan, batches = method.plan(list(scores)), []
        try:
            batch = next(plan)
            while True:
                batches.append([(trial.candidate, trial.stage, trial.epochs) for trial in batch])
                batch = plan.send(
                    {
                        Trial(t.candidate, t.stage, t.epochs): Outcome(
                            scores[t.candidate], (sizes or {}).get(t.candidate)
                        )
                        for t in batch
                    }
                )
        except StopIteration as end:
            return batches, end.value

    return play
