"""The network as one function from images to what they say, as every export holds it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ttl_lightning.exports.contract import Contract


class Deployed(nn.Module):
    """Images (N, C, *spatial) to probabilities or values (N, K) or (N, K, *spatial), float32.

    Args:
        model: gives logits; it is copied.
        contract: of the run.
        inside: take stored images of values from 0 to 1 and read them as evaluation does, not the
            network's own input.
    """

    def __init__(self, model: nn.Module, contract: Contract, *, inside: bool) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval().requires_grad_(requires_grad=False)
        self.inside, self.contract = inside, contract
        self.reads = contract.patched is None  # patches are taken of what was read
        self.read: Tensor
        self.mean: Tensor
        self.std: Tensor
        by_channel = (-1,) + (1,) * len(contract.image_size)
        self.register_buffer("read", reading(contract))
        self.register_buffer("mean", torch.tensor(contract.mean).reshape(by_channel))
        self.register_buffer("std", torch.tensor(contract.std).reshape(by_channel))

    def forward(self, image: Tensor) -> Tensor:
        """The probabilities."""
        if self.inside:
            if self.reads:
                # both axes are read alike, and a product of matrices is what every engine has
                image = self.read @ image @ self.read.mT
            image = (image - self.mean) / self.std
        logits: Tensor = self.model(image)
        return meant(logits, self.contract)


def meant(logits: Tensor, contract: Contract) -> Tensor:
    """What a network's own outputs (N, K) or (N, K, *spatial) say: probabilities, or values."""
    if contract.activation == "softmax":
        return logits.softmax(1)
    if contract.activation == "sigmoid":
        return logits.sigmoid()
    return logits * logits.new_tensor(contract.spread) + logits.new_tensor(contract.center)


def reading(contract: Contract) -> Tensor:
    """How evaluation reads an axis, as a matrix (side, stored): linear between the pixels.

    Row i holds the weights of the stored pixels whose sum is the i-th pixel of what comes out; what
    lies outside of the stored image is black.
    """
    side = contract.image_size[-1]
    centres = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    at = ((centres - contract.shift) / contract.factor + 1) * contract.stored / 2 - 0.5
    pixels = torch.arange(contract.stored, dtype=torch.float64)
    return (1 - (at[:, None] - pixels).abs()).clamp(min=0).float()
