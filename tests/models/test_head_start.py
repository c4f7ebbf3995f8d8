"""A head that starts from zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ttl_lightning.models.create import create_model
from ttl_lightning.models.head_start import zero_head


@pytest.mark.parametrize("classes", [2, 7])
def test_zero_gives_every_class_the_same_chance(classes: int) -> None:
    model = create_model("test_resnet", "ttl", "block1", classes, weights=None)
    zero_head(model)
    logits = model(torch.rand(4, 3, 32, 32))
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(4) % classes)
    assert loss.item() == pytest.approx(np.log(classes))
