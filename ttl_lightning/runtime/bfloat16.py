"""Where training in bfloat16 on a CPU is wrong, whatever it would gain.

torch 2.15 computes some weights' gradients in bfloat16 on a CPU from memory that nobody has filled,
and writes beyond what it was given: for 3D filters on maps of 2 slices, and for strided filters on
maps one pixel wide. The values are finite at times, so no loss shows it. In float32 none of this
happens; `python benchmarks/bfloat16.py` compares the two at random sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def wrong_in_bfloat16(model: nn.Module, input_size: Sequence[int]) -> str | None:
    """The first convolution whose gradient cannot be trusted in bfloat16 on a CPU, by its path.

    Every 3D filter counts, since a map's depth changes with the input's.

    Args:
        model: one forward pass is made in evaluation mode; its training mode is restored.
        input_size: `(C, *spatial)`.
    """
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d) and max(module.kernel_size) > 1:
            return str(name)
    narrow: list[str] = []

    def look(name: str, conv: nn.Conv2d, x: Tensor) -> None:
        if max(conv.stride) > 1 and max(conv.kernel_size) > 1 and min(x.shape[2:]) == 1:
            narrow.append(name)

    hooks = [
        conv.register_forward_pre_hook(lambda m, args, name=name: look(name, m, args[0]))
        for name, conv in convolutions.items()
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, *input_size, device=next(model.parameters()).device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return narrow[0] if narrow else None
