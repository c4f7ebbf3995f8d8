"""A head that starts from scikit-learn's own logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.create import create_model
from ttl_lightning.models.strategies.base import TransferModel
from ttl_lightning.tasks.probed_head import probed_head

SIZE = 32


def make(classes: int, *, pooling: bool = True) -> TransferModel:
    torch.manual_seed(3)
    return create_model(
        "test_resnet",
        "ttl",
        "block1",
        classes,
        pooling=pooling,
        image_size=(SIZE, SIZE),
        weights=None,
    )


def split(labels: Tensor, seed: int) -> list[dict[str, Tensor]]:
    """Noise that is brighter the higher the class, in two batches."""
    generator = torch.Generator().manual_seed(seed)
    level = labels.float().nan_to_num().reshape(len(labels), -1)[:, 0]
    images = torch.rand(len(labels), 3, SIZE, SIZE, generator=generator)
    images = images + 0.3 * level[:, None, None, None] * torch.rand(len(labels), 1, 1, 1)
    half = len(labels) // 2
    return [
        {"image": images[part], "label": labels[part]} for part in (slice(half), slice(half, None))
    ]


def features_of(model: TransferModel, batches: list[dict[str, Tensor]]) -> np.ndarray:
    images = torch.cat([batch["image"] for batch in batches])
    with torch.no_grad():
        maps = model.eval().backbone(images)
    flat = maps.mean((2, 3)) if model.head.pooling else maps.flatten(1)
    return flat.double().numpy()


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_scikit_learns_classifier(classes: int, pooling: bool) -> None:
    model = make(classes, pooling=pooling)
    labels = torch.arange(60) % classes
    splits = {"train": split(labels, 0), "val": split(labels, 1)}
    found = probed_head(model, splits, "binary" if classes == 2 else "multiclass")

    train, val = (features_of(model, splits[name]) for name in ("train", "val"))
    scaler = StandardScaler().fit(train)
    reference = LogisticRegression(C=1 / (found.penalty * 60), max_iter=1000)
    reference.fit(scaler.transform(train), labels.numpy())
    expected = reference.predict_proba(scaler.transform(val))
    with torch.no_grad():
        images = torch.cat([batch["image"] for batch in splits["val"]])
        got = model.eval()(images).double().softmax(1).numpy()
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_labels_that_train_does_not_tell_apart_start_at_zero() -> None:
    model = make(3)
    labels = (torch.arange(40)[:, None] % 2).float().repeat(1, 3)
    labels[:, 1], labels[::5, 2] = 1.0, torch.nan
    splits = {"train": split(labels, 0), "val": split(labels, 1)}
    found = probed_head(model, splits, "multilabel")
    weight = model.head.fc.weight
    assert weight[0].abs().sum() > 0
    assert weight[2].abs().sum() > 0
    assert weight[1].abs().sum() == 0
    assert "class 1" in found.notes["val/auprc"]


def test_another_head_than_the_linear_one_is_refused_in_a_line() -> None:
    model = make(2)
    model.head = torch.nn.Flatten()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ConfigError) as caught:
        probed_head(model, {"train": [], "val": []}, "binary")
    assert str(caught.value) == (
        "protocol.head_init=probe needs the linear head, the model has Flatten."
    )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_model_in_training_stays_so_and_its_statistics_do_not_move() -> None:
    model = make(2).train()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    labels = torch.arange(40) % 2
    probed_head(model, {"train": split(labels, 0), "val": split(labels, 1)}, "binary")
    assert model.training
    assert all(
        torch.equal(before[key], value) for key, value in model.backbone.state_dict().items()
    )
