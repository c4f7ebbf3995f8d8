"""Re-draw a transformer's blocks with half the heads and half the inner width of the MLP.

Every block adds to the same tokens, so their width stays what it is: what can be halved is what a
block computes with in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ttl_lightning.errors import ConfigError

ATTENTIONS = (
    "timm.layers.attention.Attention",
    "timm.models.swin_transformer.WindowAttention",
)
MLPS = ("timm.layers.mlp.Mlp",)
# their only parameter scales what a block adds
SCALES = ("timm.models.vision_transformer.LayerScale", "timm.layers.layer_scale.LayerScale")
STD = 0.02  # of new weights, as timm draws a transformer's


def redraw_transformer(module: nn.Module, path: str) -> None:
    """Give a piece half its inner widths and new weights; the tokens' width stays.

    Raises:
        ConfigError: if it holds what is not known here.
    """
    for name, part in _parts(module, path):
        if _kind(part) in ATTENTIONS:
            _halve_heads(part)
        elif _kind(part) in MLPS:
            hidden = max(1, part.fc1.out_features // 2)
            part.fc1 = _drawn(part.fc1.in_features, hidden, part.fc1)
            part.fc2 = _drawn(hidden, part.fc2.out_features, part.fc2)
        elif isinstance(part, nn.LayerNorm):
            part.reset_parameters()
        elif isinstance(part, nn.Linear):  # of Swin's merging, which has no inner width
            part.weight = _drawn(part.in_features, part.out_features, part).weight
        elif _kind(part) in SCALES:
            part.gamma = nn.Parameter(torch.full_like(part.gamma, 1e-5))
        elif any(True for _ in part.parameters(recurse=False)):
            raise ConfigError(
                f"strategy=tf cannot slim {name}: {type(part).__name__} is none of what "
                "ttl_lightning/models/strategies/attention.py halves (the heads and MLPs of ViT "
                "and Swin)."
            )


def _parts(module: nn.Module, path: str) -> Iterator[tuple[str, Any]]:
    """The module and what it holds, but for what attentions and MLPs hold."""
    yield path, module
    if _kind(module) not in (*ATTENTIONS, *MLPS):
        for name, child in list(module.named_children()):
            yield from _parts(child, f"{path}.{name}")


def _halve_heads(attention: Any) -> None:  # noqa: ANN401 - one of ATTENTIONS
    width = attention.qkv.out_features // 3 // attention.num_heads
    heads = max(1, attention.num_heads // 2)
    attention.num_heads = heads
    if hasattr(attention, "attn_dim"):
        attention.attn_dim = heads * width
    attention.qkv = _drawn(attention.qkv.in_features, 3 * heads * width, attention.qkv)
    attention.proj = _drawn(heads * width, attention.proj.out_features, attention.proj)
    for name, part in attention.named_children():
        if isinstance(part, nn.LayerNorm) and part.normalized_shape == (width,):
            part.reset_parameters()  # of queries and keys, a head's width each
        elif name not in ("qkv", "proj") and any(True for _ in part.parameters()):
            raise ConfigError(
                f"strategy=tf cannot slim an attention's {name}: its width is that of all heads."
            )
    table = getattr(attention, "relative_position_bias_table", None)
    if table is not None:
        attention.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(table.new_empty(len(table), heads), std=STD)
        )


def _drawn(n_in: int, n_out: int, like: nn.Linear) -> nn.Linear:
    linear = nn.Linear(n_in, n_out, bias=like.bias is not None, device=like.weight.device)
    nn.init.trunc_normal_(linear.weight, std=STD)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
