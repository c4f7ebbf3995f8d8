"""Temperature scaling beside torch's losses and a temperature that is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as theirs
from torch.nn import functional as F

from ttl_lightning.metrics.calibration import calibration, fitted_temperature, log_loss, scaled

RNG = np.random.default_rng(1)


def drawn(classes: int, samples: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn by their softmax."""
    logits = RNG.normal(0, 1.5, (samples, classes))
    right = torch.from_numpy(logits).softmax(1).numpy()
    labels = np.array([RNG.choice(classes, p=row) for row in right])
    return logits, labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sure", [0.5, 3.0])
def test_a_known_temperature_is_found(classes: int, sure: float) -> None:
    logits, labels = drawn(classes)
    task = "binary" if classes == 2 else "multiclass"
    seen = torch.from_numpy(logits * sure).softmax(1).numpy()
    found = fitted_temperature(seen, labels, task)
    assert found == pytest.approx(sure, rel=0.1)
    again = torch.from_numpy(logits * sure / found).softmax(1).numpy()
    np.testing.assert_allclose(scaled(seen, found, task), again, atol=1e-9)


def test_log_losses_are_scikit_learns_and_torchs() -> None:
    logits, labels = drawn(3, 200)
    seen = torch.from_numpy(logits).softmax(1).numpy()
    assert log_loss(seen, labels, "multiclass") == pytest.approx(theirs(labels, seen))
    several = (RNG.random((200, 3)) < 0.4).astype(np.float64)
    sigmoids = torch.from_numpy(logits).sigmoid()
    expected = F.binary_cross_entropy(sigmoids, torch.from_numpy(several)).item()
    assert log_loss(sigmoids.numpy(), several, "multilabel") == pytest.approx(expected)


def test_labels_that_are_not_known_do_not_count() -> None:
    logits, _ = drawn(2, 3000)
    right = torch.from_numpy(logits).sigmoid().numpy()
    labels = (RNG.random(right.shape) < right).astype(np.float64)
    seen = torch.from_numpy(logits * 2).sigmoid().numpy()
    labels[::3, 0] = np.nan
    other = labels.copy()
    assert fitted_temperature(seen, other, "multilabel") == pytest.approx(2, rel=0.15)
    assert fitted_temperature(seen, np.full_like(labels, np.nan), "multilabel") is None


def test_order_and_a_temperature_of_one_change_nothing() -> None:
    logits, _ = drawn(4, 50)
    seen = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(scaled(seen, 1.0, "multiclass"), seen, atol=1e-12)
    np.testing.assert_array_equal(scaled(seen, 3.0, "multiclass").argmax(1), seen.argmax(1))


def test_a_result_has_both_ends_of_both_splits() -> None:
    logits, labels = drawn(2)
    seen = torch.from_numpy(logits * 3).softmax(1).numpy()
    table = SimpleNamespace(probabilities=seen, labels=labels)
    found = calibration({"val": table, "test": table}, "binary")
    for split in ("val", "test"):
        assert found[split]["log_loss_scaled"] < found[split]["log_loss"]
        assert found[split]["ece_scaled"] < 0.5 * found[split]["ece"]
    assert calibration({"test": table}, "binary") == {}
