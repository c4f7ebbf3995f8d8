import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from ttl_lightning.callbacks.complexity import ComplexityCallback


class OneLayer(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 2)

    def forward(self, x):
        return self.layer(x.flatten(1))

    def training_step(self, batch, batch_idx):
        return self(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_the_cost_is_counted_and_logged(tmp_path) -> None:
    callback = ComplexityCallback((3, 2, 2))
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callback], logger=CSVLogger(tmp_path),
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(OneLayer(), torch.utils.data.DataLoader(torch.rand(4, 3, 2, 2)))
    assert callback.result is not None
    assert (callback.result.params, callback.result.macs) == (26, 24)
    assert "complexity/macs" in next(tmp_path.rglob("metrics.csv")).read_text()
