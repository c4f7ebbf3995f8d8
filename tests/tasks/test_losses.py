from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from ttl_lightning.tasks.losses import (
    class_probabilities,
    classification_loss,
    kind_of,
    mean_over_views,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("exclusive", "classes", "kind"),
    [
        (True, 2, "binary"),
        (True, 3, "multiclass"),
        (False, 2, "multilabel"),
        (False, 3, "multilabel"),
    ],
)
def test_labels_and_classes_say_what_is_classified(exclusive, classes, kind: str) -> None:
    assert kind_of(SimpleNamespace(exclusive=exclusive, num_classes=classes)) == kind


def test_loss_weights_positives_and_skips_what_is_not_labelled() -> None:
    logits, weights = torch.randn(5, 3), torch.tensor([2.0, 1.0, 0.5])
    labels = torch.tensor([[1, 0, torch.nan], [0, 1, 1], [1, 1, 0], [0, 0, 0], [1, torch.nan, 1]])
    terms = []
    for row in range(5):
        for column in range(3):
            p, y = 1 / (1 + np.exp(-float(logits[row, column]))), float(labels[row, column])
            if not np.isnan(y):
                terms.append(-(weights[column].item() * y * np.log(p) + (1 - y) * np.log(1 - p)))
    loss = classification_loss(logits, labels, "multilabel", weights)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-6)
    logits.requires_grad_()
    nothing = classification_loss(logits, torch.full((5, 3), torch.nan), "multilabel")
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_loss_weights_classes() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = torch.tensor([3.0, 1.0, 0.2])
    terms = -logits.log_softmax(1)[torch.arange(6), labels] * weights[labels]
    expected = terms.sum() / weights[labels].sum()
    torch.testing.assert_close(classification_loss(logits, labels, "multiclass", weights), expected)


def test_probabilities_of_large_logits_do_not_tie() -> None:
    logits = torch.tensor([[0.0, 25.0], [0.0, 30.0]])
    assert logits.softmax(1)[:, 1].tolist() == [1.0, 1.0]
    for task in ("binary", "multilabel"):
        low, high = class_probabilities(logits, task)[:, 1]
        assert low < high


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_focal_loss_of_two_classes_is_torchvisions(gamma: float) -> None:
    logits, labels = 3 * torch.randn(9, 2, dtype=torch.float64), torch.arange(9) % 2
    difference = logits[:, 1] - logits[:, 0]
    theirs = sigmoid_focal_loss(difference, labels.double(), alpha=-1, gamma=gamma).mean()
    ours = classification_loss(logits, labels, "binary", focal_gamma=gamma)
    torch.testing.assert_close(ours, theirs)


def test_the_focal_loss_of_several_labels_is_torchvisions() -> None:
    logits, labels = torch.randn(7, 3), torch.randint(0, 2, (7, 3)).float()
    theirs = sigmoid_focal_loss(logits, labels, alpha=-1, gamma=2.0).mean()
    ours = classification_loss(logits, labels, "multilabel", focal_gamma=2.0)
    torch.testing.assert_close(ours, theirs)


def test_the_focal_loss_weights_classes() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = torch.tensor([3.0, 1.0, 0.2])
    p = logits.softmax(1)[torch.arange(6), labels]
    expected = ((1 - p) ** 2 * -p.log() * weights[labels]).sum() / weights[labels].sum()
    loss = classification_loss(logits, labels, "multiclass", weights, focal_gamma=2.0)
    torch.testing.assert_close(loss, expected)


def test_the_focal_loss_of_a_sure_and_right_prediction_has_a_gradient() -> None:
    logits = torch.tensor([[0.0, 80.0]], requires_grad=True)
    loss = classification_loss(logits, torch.tensor([1]), "binary", focal_gamma=0.5)
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_mean_over_views_is_that_of_probabilities(task: str) -> None:
    logits = 3 * torch.randn(6, 4, 2 if task == "binary" else 5)
    each = np.stack([class_probabilities(logits[:, view], task) for view in range(4)])
    mean = class_probabilities(mean_over_views(logits, task), task)
    np.testing.assert_allclose(mean, each.mean(0), rtol=1e-12)
    # where every view is sure beyond what a probability can hold, order and loss remain
    sure = mean_over_views(torch.tensor([[[0.0, 2000.0]] * 3, [[0.0, 3000.0]] * 3]), task)
    assert sure.isfinite().all()
    assert sure[0, 1] - sure[0, 0] < sure[1, 1] - sure[1, 0]
