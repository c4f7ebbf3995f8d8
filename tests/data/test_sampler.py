from __future__ import annotations

from collections import Counter

import pytest
from torch import distributed

from ttl_lightning.data.sampler import EpochSampler


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be one process of several."""

    def pretend(size: int, rank: int) -> None:
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda *_: size)
        monkeypatch.setattr(distributed, "get_rank", lambda *_: rank)

    return pretend


def keys(count: int, *, training: bool, batch_size: int = 4, seed: int = 0, epoch: int = 0) -> list:
    sampler = EpochSampler(range(count), batch_size=batch_size, training=training, seed=seed)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def test_training_covers_every_sample_once_in_a_new_order_each_epoch() -> None:
    first, second = keys(12, training=True), keys(12, training=True, epoch=1)
    assert sorted(first) == [(0, i) for i in range(12)]
    assert sorted(second) == [(1, i) for i in range(12)]
    assert [i for _, i in first] != [i for _, i in second]
    assert first == keys(12, training=True)
    assert first != keys(12, training=True, seed=1)


def test_evaluation_is_in_order() -> None:
    assert keys(9, training=False) == [(0, i) for i in range(9)]


def test_a_lone_last_sample_gets_company() -> None:
    counts = Counter(i for _, i in keys(13, training=True))
    assert sorted(counts.values()) == [1] * 12 + [2]
    assert len(keys(13, training=True, batch_size=1)) == 13
    assert len(keys(1, training=True)) == 1
    assert len(keys(13, training=False)) == 13


@pytest.mark.parametrize("count", [12, 13, 14, 15])
def test_processes_train_equally_long_on_all_samples(world, count: int) -> None:
    parts = []
    for rank in range(3):
        world(3, rank)
        parts.append(keys(count, training=True, batch_size=8))
    assert len({len(part) for part in parts}) == 1
    counts = Counter(i for part in parts for _, i in part)
    assert set(counts) == set(range(count))
    assert max(counts.values()) <= 2


@pytest.mark.parametrize("count", [2, 12, 13])
def test_processes_evaluate_each_sample_once(world, count: int) -> None:
    drawn = []
    for rank in range(3):
        world(3, rank)
        drawn += keys(count, training=False)
    assert sorted(drawn) == [(0, i) for i in range(count)]
