"""Weights of a 2D network in the 3D network of the same shape: repeated over the kernel's depth.

Source: Carreira and Zisserman, Quo Vadis, Action Recognition? (CVPR 2017), section 2.4: divided by
that depth, so a volume of identical slices gives what one of its slices gives in 2D.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def is_planar(tensors: Iterable[Tensor]) -> bool:
    """Whether the weights are a 2D network's: filters of two dimensions and none of three."""
    dimensions = {tensor.dim() for tensor in tensors}
    return 4 in dimensions and 5 not in dimensions


def inflated(tensors: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with each 2D filter as deep as the network's own of that name.

    Args:
        tensors: of a 2D network, filters `(out, in, H, W)`.
        network: of a 3D network by the same names, filters `(out, in, D, H, W)`.
    """
    return {
        key: _deepened(value, network[key].shape[2])
        if value.dim() == 4 and key in network and network[key].dim() == 5
        else value
        for key, value in tensors.items()
    }


def _deepened(weight: Tensor, depth: int) -> Tensor:
    return weight.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth
