"""Losses of masks beside MONAI's own modules and PyTorch's."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss
from torch import Tensor
from torch.nn import functional

from ttl_lightning.data.samples import IGNORED
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.tasks.mask_losses import check_loss, mask_losses


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numbers(classes: int, *shape: int) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("space", [(9, 7), (4, 6, 5)])
def test_exclusive_classes(space: tuple[int, ...]) -> None:
    logits, masks = drawn(3, 4, *space), numbers(4, 3, *space)
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    # their cross entropy has the background in it, as ours has
    both = functional.cross_entropy(logits, masks)
    dice = DiceLoss(include_background=False, to_onehot_y=True, softmax=True)(
        logits, masks[:, None]
    )
    assert mask_losses(logits, masks).mean() == pytest.approx((dice + both).item())
    assert mask_losses(logits, masks, "dice").mean() == pytest.approx(dice.item())
    assert mask_losses(logits, masks, "cross_entropy").mean() == pytest.approx(both.item())
    assert theirs(logits, masks[:, None]) == pytest.approx((dice + both).item())
    focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=1.5, reduction="none")
    per_image = focal(logits, masks[:, None]).sum(1).flatten(1).mean(1)
    ours = mask_losses(logits, masks, "focal", focal_gamma=1.5)
    torch.testing.assert_close(ours, per_image.to(ours), rtol=1e-5, atol=1e-6)


def test_a_binary_mask() -> None:
    logits, masks = drawn(3, 1, 9, 7), numbers(2, 3, 9, 7)
    truth = masks[:, None].to(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    dice = DiceLoss(sigmoid=True)(logits, truth)
    assert mask_losses(logits, masks).mean() == pytest.approx((dice + entropy).item())
    focal = FocalLoss(gamma=2.0)(logits, truth)
    assert mask_losses(logits, masks, "focal").mean() == pytest.approx(focal.item(), rel=1e-5)


def test_classes_that_overlap() -> None:
    logits, masks = drawn(3, 2, 9, 7), numbers(2, 3, 2, 9, 7)
    truth = masks.to(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    dice = DiceLoss(sigmoid=True)(logits, truth)
    assert mask_losses(logits, masks).mean() == pytest.approx((dice + entropy).item())


@pytest.mark.parametrize("loss", ["dice_ce", "dice", "cross_entropy", "focal"])
@pytest.mark.parametrize(("channels", "overlap"), [(1, False), (3, False), (2, True)])
def test_what_is_ignored_counts_nowhere(loss: str, channels: int, overlap: bool) -> None:
    """The loss of an image is that of its known half alone."""
    logits = drawn(2, channels, 8, 6)
    shape = (2, channels, 8, 6) if overlap else (2, 8, 6)
    masks = numbers(2 if channels == 1 or overlap else channels, *shape)
    half = masks.clone()
    half[..., 4:, :] = IGNORED
    found = mask_losses(logits, half, loss)
    alone = mask_losses(logits[..., :4, :], masks[..., :4, :], loss)
    torch.testing.assert_close(found, alone)
    nothing = mask_losses(logits, torch.full_like(masks, IGNORED), loss)
    assert nothing.tolist() == pytest.approx([0, 0], abs=1e-4)


def test_weights_of_classes() -> None:
    logits, masks = drawn(3, 4, 9, 7), numbers(4, 3, 9, 7)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    plain = mask_losses(logits, masks, "dice")
    entropy = mask_losses(logits, masks, "dice_ce", torch.ones(4)) - plain
    torch.testing.assert_close(entropy, mask_losses(logits, masks, "dice_ce") - plain)
    for n in range(3):
        one = slice(n, n + 1)
        ce = functional.cross_entropy(logits[one], masks[one], weight=weights)
        dice = mask_losses(logits[one], masks[one], "dice", weights)
        both = mask_losses(logits[one], masks[one], "dice_ce", weights)
        assert both.item() == pytest.approx((dice + ce).item())
    dice = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, weight=weights[1:])
    expected = dice(logits, masks[:, None])
    assert mask_losses(logits, masks, "dice", weights).mean() == pytest.approx(expected.item())


def test_an_image_without_its_class_still_teaches() -> None:
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    mask_losses(logits, torch.zeros(1, 4, 4, dtype=torch.long)).sum().backward()
    assert (logits.grad > 0).all()


def test_mistakes() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown protocol\.loss 'dise'; did you mean 'dice'"
    ):
        check_loss("dise", 2)
    with pytest.raises(ConfigError, match=r"protocol\.focal_gamma"):
        check_loss("focal", -1)
