"""The linear head, which older code calls `Head`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.create import create_model
from ttl_lightning.models.heads.linear import LinearHead, as_linear, zero_head
from ttl_lightning.models.strategies import base


def test_it_is_importable_from_where_it_was() -> None:
    assert base.Head is LinearHead


@pytest.mark.parametrize(("pooling", "features"), [(True, 8), (False, 8 * 3 * 5)])
def test_checkpoints_of_before_load(pooling: bool, features: int) -> None:
    head = LinearHead((8, 3, 5), 4, pooling=pooling)
    weight, bias = torch.rand(4, features), torch.rand(4)
    head.load_state_dict({"fc.weight": weight, "fc.bias": bias}, strict=True)
    x = torch.rand(2, 8, 3, 5)
    flat = x.mean((2, 3)) if pooling else x.reshape(2, -1)
    torch.testing.assert_close(head(x), flat @ weight.T + bias)


@pytest.mark.parametrize("classes", [2, 7])
def test_zero_gives_every_class_the_same_chance(classes: int) -> None:
    model = create_model("test_resnet", "ttl", "block1", classes, weights=None)
    zero_head(model.head)
    logits = model(torch.rand(4, 3, 32, 32))
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(4) % classes)
    assert loss.item() == pytest.approx(np.log(classes))


def test_another_head_is_refused_in_a_line() -> None:
    head = LinearHead((2, 1, 1), 2, pooling=True)
    assert as_linear(head, "Grad-CAM") is head
    with pytest.raises(ConfigError) as caught:
        as_linear(nn.Conv2d(1, 1, 1), "Grad-CAM")
    assert str(caught.value) == "Grad-CAM needs the linear head, the model has Conv2d."
