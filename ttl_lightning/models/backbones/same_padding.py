"""TensorFlow's SAME padding at the cost of symmetric padding, number for number.

Before a strided convolution TensorFlow pads more at the end than at the beginning, which no
convolution of torch does by itself. timm copies the map into a padded one: of the widest maps of an
inverted residual block this keeps two, and training is up to a tenth slower. Here the ReLU6 before
the convolution writes into the padded map, of which there is one.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn
from torch.nn import functional

Sides = tuple[int, int, int, int]
"""Pixels to the left, to the right, above and below."""


def fuse_same_padding(net: nn.Module) -> None:
    """Let the ReLU6 of each inverted residual block pad for the strided convolution after it.

    Outputs, gradients and the keys of `state_dict()` stay what they are; other padding, and padding
    after other activations, is left to timm.
    """
    for block in net.modules():
        if not isinstance(block, InvertedResidual):
            continue
        norm, conv = block.bn1, block.conv_dw
        if isinstance(conv, Conv2dSame) and isinstance(getattr(norm, "act", None), nn.ReLU6):
            norm.act = PaddedReLU6(conv)
            block.conv_dw = _unpadded(conv)


class PaddedReLU6(nn.Module):
    """ReLU6, padded by what a convolution needs for SAME padding.

    Args:
        conv: the convolution that comes next.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        # as padding is given: the last axis first
        self.kernel_size, self.stride = conv.kernel_size[::-1], conv.stride[::-1]
        self.dilation = conv.dilation[::-1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H + above + below, W + left + right)."""
        each = zip(x.shape[:1:-1], self.kernel_size, self.stride, self.dilation, strict=True)
        (left, right), (above, below) = (_halves(get_same_padding(*axis)) for axis in each)
        sides = (left, right, above, below)
        if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
            padded: Tensor = _ReLU6IntoPadded.apply(x, sides)
            return padded
        return functional.pad(functional.relu6(x), sides)

    def extra_repr(self) -> str:
        """What the padding follows from."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"


class _ReLU6IntoPadded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sides: Sides) -> Tensor:  # noqa: ANN401 - torch's own
        left, right, above, below = sides
        number, channels, height, width = x.shape
        last = x.is_contiguous(memory_format=torch.channels_last)
        padded = torch.empty(
            (number, channels, above + height + below, left + width + right),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        torch.clamp(x, 0, 6, out=_inner(padded, sides))
        padded[..., :above, :].zero_()
        padded[..., above + height :, :].zero_()
        padded[..., :left].zero_()
        padded[..., left + width :].zero_()
        ctx.sides = sides
        ctx.save_for_backward(padded)
        return padded

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch's own
        (padded,) = ctx.saved_tensors
        inner = _inner(padded, ctx.sides)
        return torch.ops.aten.hardtanh_backward(_inner(grad, ctx.sides), inner, 0, 6), None


def _inner(padded: Tensor, sides: Sides) -> Tensor:
    left, right, above, below = sides
    return padded[..., above : padded.shape[-2] - below, left : padded.shape[-1] - right]


def _halves(pixels: int) -> tuple[int, int]:
    return pixels // 2, pixels - pixels // 2


def _unpadded(conv: Conv2dSame) -> nn.Conv2d:
    """The convolution with the same parameters, which takes a map that is padded already."""
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",  # no random numbers are drawn for weights that are replaced
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain.train(conv.training)
