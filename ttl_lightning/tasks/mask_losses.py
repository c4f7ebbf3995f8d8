"""What training of masks minimises, and the probabilities that their logits stand for.

A mask has a class number a pixel, (N, *spatial), 0 being the background; a binary one has 0 and 1,
and one logit a pixel. Where classes may overlap it has 0 or 1 for each, (N, classes, *spatial).
Pixels of `IGNORED` count nowhere.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ttl_lightning.data.samples import IGNORED
from ttl_lightning.errors import check_choice, check_number
from ttl_lightning.tasks.losses import focal

LOSSES = ("dice_ce", "dice", "cross_entropy", "focal")


def check_loss(loss: str, focal_gamma: float) -> None:
    """Demand a loss that there is.

    Raises:
        ConfigError: naming the key.
    """
    check_choice("protocol.loss", loss, LOSSES)
    check_number("protocol.focal_gamma", focal_gamma, 0, 100)


def mask_losses(
    logits: Tensor,
    masks: Tensor,
    loss: str = "dice_ce",
    class_weights: Tensor | None = None,
    focal_gamma: float = 2.0,
) -> Tensor:
    """The loss of each image, (N,).

    "dice_ce" is the sum of soft Dice loss and cross entropy, which are had alone, too; "focal" is
    the cross entropy of which the pixels that are right count less. Dice is the mean over the
    classes without the background; entropies are means over the pixels that are known.

    Args:
        logits: (N, K, *spatial).
        masks: as said above.
        loss: one of `LOSSES`.
        class_weights: (K,), of each class; of one that has a logit of its own, how much its pixels
            count beside the others.
        focal_gamma: of "focal".

    Source: Milletari et al., "V-Net" (2016), for soft Dice, as MONAI has it; Lin et al., "Focal
        loss for dense object detection" (2017), eq. 4.
    """
    exclusive = are_exclusive(logits, masks)
    targets, known = _targets(logits, masks)
    losses = logits.new_zeros(len(logits))
    if loss.startswith("dice"):
        from monai.losses.dice import DiceLoss

        shown = mask_probabilities(logits, exclusive=exclusive)
        weight = None if class_weights is None else class_weights[int(exclusive) :]
        dice = DiceLoss(include_background=not exclusive, weight=weight, reduction="none")
        losses = losses + dice(shown * known, targets * known).flatten(1).mean(1)
    if loss != "dice":
        if exclusive:
            entropies = -(logits.log_softmax(1) * targets).sum(1, keepdim=True)
        else:
            entropies = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if loss == "focal":
            entropies = focal(entropies, focal_gamma)
        counts = known * _weights(targets, class_weights, exclusive=exclusive)
        sums, total = ((x * counts).flatten(1).sum(1) for x in (entropies, torch.ones_like(known)))
        losses = losses + sums / total.clamp(min=1e-6)
    return losses


def are_exclusive(logits: Tensor, masks: Tensor) -> bool:
    """Whether a pixel has one of several classes, each of which has its logit."""
    return logits.shape[1] > 1 and masks.ndim < logits.ndim


def _targets(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """0 or 1 for each logit, and which pixels are known, (N, 1, *spatial) or as the logits."""
    known = (masks != IGNORED).to(logits.dtype)
    numbers = torch.where(masks == IGNORED, 0, masks).long()
    if not are_exclusive(logits, masks):
        return numbers.reshape_as(logits).to(logits.dtype), known.reshape_as(logits)
    of_class = torch.arange(logits.shape[1], device=logits.device).reshape(
        -1, *(1,) * (logits.ndim - 2)
    )
    return (numbers[:, None] == of_class).to(logits.dtype), known[:, None]


def _weights(targets: Tensor, class_weights: Tensor | None, *, exclusive: bool) -> Tensor:
    """How much each entropy counts."""
    if class_weights is None:
        return targets.new_ones(())
    by_class = class_weights.to(targets).reshape(-1, *(1,) * (targets.ndim - 2))
    if exclusive:
        return (targets * by_class).sum(1, keepdim=True)
    return 1 + (by_class - 1) * targets


def mask_probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Softmax over classes of which a pixel has one, else sigmoid; (N, K, *spatial)."""
    return logits.softmax(1) if exclusive else logits.sigmoid()
