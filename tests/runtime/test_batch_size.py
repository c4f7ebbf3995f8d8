from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ttl_lightning.runtime.batch_size import fitted_batch_size

SAMPLES = 64


class Hungry(pl.LightningModule):
    """Says that memory is full from a batch size on, as a GPU does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.net = most, nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        if len(batch[0]) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate more")
        return self.net(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(pl.LightningDataModule):
    batch_size = 4

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.rand(SAMPLES, 1)), batch_size=self.batch_size)


@pytest.mark.parametrize(
    ("finder", "low", "high"),
    [("power", 16, 16), pytest.param("binsearch", 19, 21, marks=pytest.mark.slow)],
)
def test_the_largest_batch_that_fits(finder: str, low: int, high: int) -> None:
    task, data = Hungry(most=21), Data()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = fitted_batch_size(task, data, finder, "32-true", "cpu")
    assert low <= found <= high
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_no_more_than_there_are() -> None:
    assert fitted_batch_size(Hungry(most=9999), Data(), "power", "32-true", "cpu") == SAMPLES
