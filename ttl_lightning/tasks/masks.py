"""A network's masks: on an image's own grid, beside the reference, and judged by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ttl_lightning.data.samples import IGNORED
from ttl_lightning.metrics.segmentation import overlaps
from ttl_lightning.tasks.judged import Judged


def on_own_grid(shown: Tensor, place: Tensor, shape: Sequence[int]) -> Tensor:
    """Probabilities of a view, read between its pixels at those of the image.

    Args:
        shown: (K, *spatial).
        place: (axes, 2), factor and shift along each axis from the image's coordinates to the
            view's, both from -1 to 1 between the outer edges.
        shape: of the image, along the same axes.

    Returns:
        (K, *shape); 0 where the view does not reach.
    """
    for axis, (size, (factor, shift)) in enumerate(zip(shape, place.tolist(), strict=True), 1):
        shown = _along(shown, axis, size, factor, shift)
    return shown


def _along(shown: Tensor, axis: int, size: int, factor: float, shift: float) -> Tensor:
    """Linear interpolation along one axis, at the places of so many pixels."""
    count = shown.shape[axis]
    centres = factor * ((torch.arange(size, dtype=torch.float64) * 2 + 1) / size - 1) + shift
    at = ((centres + 1) * count - 1) / 2
    below = at.floor().clamp(0, count - 1)
    share = (at - below).clamp(0, 1)
    seen = centres.abs() <= 1
    form = (-1, *(1,) * (shown.ndim - axis - 1))
    low, high = ((below + step).clamp(max=count - 1).long().to(shown.device) for step in (0, 1))
    weights = ((1 - share) * seen, share * seen)
    ours, theirs = (weight.to(shown).reshape(form) for weight in weights)
    return shown.index_select(axis, low) * ours + shown.index_select(axis, high) * theirs


def labelled(probabilities: Tensor, *, exclusive: bool) -> Tensor:
    """Which regions a pixel is of, without the background, (regions, *spatial) bool.

    The likeliest of those that exclude each other, unless none is likely at all; else each whose
    probability is above 0.5.
    """
    if not exclusive:
        return probabilities > 0.5
    best = probabilities.argmax(0)
    numbers = torch.arange(1, len(probabilities), device=best.device)
    return best[None] == numbers.reshape(-1, *(1,) * best.ndim)


def reference_regions(mask: Tensor, regions: int, *, overlap: bool) -> tuple[Tensor, Tensor]:
    """A reference as `labelled` gives it, and which of its pixels are known.

    Args:
        mask: class numbers (*spatial), or (regions, *spatial) of 0 and 1 where they overlap;
            `IGNORED` where not known.
        regions: without the background.
        overlap: which of the two it is.
    """
    known = mask != IGNORED
    if overlap:
        return mask == 1, known
    numbers = torch.arange(1, regions + 1, device=mask.device).reshape(-1, *(1,) * mask.ndim)
    return mask[None] == numbers, known[None]


def judged_masks(
    shown: Tensor, masks: Tensor, regions: Sequence[str], *, exclusive: bool, overlap: bool
) -> Judged:
    """Masks as the network sees them; what is missed is 1 − Dice of the regions present.

    Args:
        shown: probabilities (N, K, *spatial), float64.
        masks: as `reference_regions` takes them, of the view.
        regions: names, without the background.
        exclusive: whether outputs are of classes that exclude each other, the background the first.
        overlap: of the masks.
    """
    pairs, missed = [], []
    for seen, mask in zip(shown, masks, strict=True):
        expected, known = reference_regions(mask, len(regions), overlap=overlap)
        ours = labelled(seen, exclusive=exclusive) & known
        pairs.append(torch.stack([expected, ours]))
        dice = overlaps(ours.numpy(), expected.numpy())["dice"]
        there = expected.flatten(1).any(1).numpy()
        missed.append(1 - float(dice[there].mean() if there.any() else dice.mean()))
    expected, ours = torch.stack(pairs).unbind(1)
    first = ["background"] if exclusive else []
    where = torch.cat([~ours.any(1, keepdim=True), ours], 1) if exclusive else ours
    sums, sizes = (shown * where).flatten(2).sum(2), where.flatten(2).sum(2)
    true, predicted = (_largest(m, len(first)) for m in (expected, ours))
    probable = sums / sizes.clamp(min=1)
    return Judged((*first, *regions), probable, true, predicted, torch.tensor(missed), where)


def _largest(found: Tensor, first: int) -> Tensor:
    """The output of each image's largest region, from `first` on; -1 where there is none."""
    sizes = found.flatten(2).sum(2)
    return torch.where(sizes.any(1), sizes.argmax(1) + first, -1)


def most_marked(masks: Tensor, length: int) -> list[slice]:
    """Of each volume so many slices about that of which its mask (N, D, H, W) marks most."""
    marked = ((masks != 0) & (masks != IGNORED)).flatten(2).sum(2)
    starts = (marked.argmax(1) - length // 2).clamp(0, masks.shape[1] - length)
    return [slice(start, start + length) for start in starts.tolist()]
