"""Which samples a process sees in an epoch, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import numpy as np
from torch import distributed
from torch.utils.data import Dataset, DistributedSampler

from ttl_lightning.data.transforms import Key


class EpochSampler(DistributedSampler[Key]):
    """Yields (epoch, index) keys; the order is a function of (seed, epoch).

    It derives from torch's DistributedSampler so that Lightning takes it as it is and calls
    `set_epoch`; rank and number of processes come from torch.distributed where that runs.

    In training every process sees equally many samples: each sample once, and as few as needed of
    them twice to make up the numbers. A last batch of one sample, on which BatchNorm cannot train,
    gets a second one in the same way. In evaluation each sample is seen exactly once.

    Args:
        dataset: only its length matters.
        batch_size: of the loader.
        training: shuffle and fill up.
        seed: of the order.
    """

    def __init__(self, dataset: Sized, *, batch_size: int, training: bool, seed: int) -> None:
        live = distributed.is_available() and distributed.is_initialized()
        super().__init__(
            cast("Dataset[Any]", dataset),
            num_replicas=distributed.get_world_size() if live else 1,
            rank=distributed.get_rank() if live else 0,
            shuffle=training,
            seed=seed,
        )
        self._count, self._training = len(dataset), training
        share = -(-self._count // self.num_replicas)
        lone = training and batch_size > 1 and share % batch_size == 1 and self._count > 1
        self._share = share + lone if training else len(self._part(np.arange(self._count)))

    def __len__(self) -> int:
        """Number of keys of this process."""
        return self._share

    def __iter__(self) -> Iterator[Key]:
        """This process's keys."""
        order = np.arange(self._count)
        if self._training:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self._count)
            order = np.resize(order, self._share * self.num_replicas)
        return ((self.epoch, int(index)) for index in self._part(order))

    def _part(self, order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return order[self.rank :: self.num_replicas]
