from __future__ import annotations

import pytest

from ttl_lightning.errors import UnknownNameError
from ttl_lightning.search import Detected, search

BLOCKS = ["block1", "block2", "block3"]


def test_one_training() -> None:
    trained = []

    def score(cutoff: str) -> float:
        trained.append(cutoff)
        return 0.7

    found = search(BLOCKS, score, method=Detected("block2", "It was told."))
    assert trained == ["block2"] == [found.choice]
    assert found.reason == "It was told."


def test_a_training_that_failed_is_no_choice() -> None:
    found = search(BLOCKS, lambda _: None, method=Detected("block2", "It was told."))
    assert found.choice is None
    assert found.reason == "It was told. Its training could not be scored."


def test_a_cutoff_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="detected cutoff 'block9'"):
        search(BLOCKS, lambda _: 1.0, method=Detected("block9", "It was told."))
