"""Re-draw the units after a cutoff at half their width, with new weights.

A stage whose units add an identity shortcut must keep the width of its output: in the cutoff's own stage only
the inner widths of such units are halved. All later stages are halved throughout; their first unit takes the
full-width map and gives the half-width one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from ttl_lightning.backbones.base import Backbone
from ttl_lightning.errors import ConfigError

# Which width each child of a source network's block reads and writes: the unit's input ("in"), its inner
# width ("mid"), its output ("out"), or half of its input ("half_in": DenseNet's transitions).
Roles = dict[str, tuple[str, str]]

RESNET_SHORTCUT: Roles = {"se": ("out", "out"), "downsample": ("in", "out")}
CHILDREN: dict[str, Roles] = {
    "timm.models.resnet.Bottleneck": {
        "conv1": ("in", "mid"), "bn1": ("mid", "mid"), "conv2": ("mid", "mid"), "bn2": ("mid", "mid"),
        "aa": ("mid", "mid"), "conv3": ("mid", "out"), "bn3": ("out", "out"), **RESNET_SHORTCUT,
    },
    "timm.models.resnet.BasicBlock": {
        "conv1": ("in", "mid"), "bn1": ("mid", "mid"), "aa": ("mid", "mid"),
        "conv2": ("mid", "out"), "bn2": ("out", "out"), **RESNET_SHORTCUT,
    },
    "timm.models.regnet.Bottleneck": {
        "conv1": ("in", "mid"), "conv2": ("mid", "mid"), "se": ("mid", "mid"), "conv3": ("mid", "out"),
        "downsample": ("in", "out"),
    },
    "timm.models._efficientnet_blocks.ConvBnAct": {"conv": ("in", "out"), "bn1": ("out", "out")},
    "timm.models._efficientnet_blocks.DepthwiseSeparableConv": {
        "conv_dw": ("in", "in"), "bn1": ("in", "in"), "se": ("in", "in"),
        "conv_pw": ("in", "out"), "bn2": ("out", "out"),
    },
    "timm.models._efficientnet_blocks.InvertedResidual": {
        "conv_pw": ("in", "mid"), "bn1": ("mid", "mid"), "conv_dw": ("mid", "mid"), "bn2": ("mid", "mid"),
        "se": ("mid", "mid"), "conv_pwl": ("mid", "out"), "bn3": ("out", "out"),
    },
    "timm.models._efficientnet_blocks.EdgeResidual": {
        "conv_exp": ("in", "mid"), "bn1": ("mid", "mid"), "se": ("mid", "mid"),
        "conv_pwl": ("mid", "out"), "bn2": ("out", "out"),
    },
    "timm.models.densenet.DenseLayer": {
        "norm1": ("in", "in"), "conv1": ("in", "mid"), "norm2": ("mid", "mid"), "conv2": ("mid", "out"),
    },
    "timm.models.densenet.DenseTransition": {"norm": ("in", "in"), "conv": ("in", "half_in"), "pool": ("half_in", "half_in")},
}  # fmt: skip
IDENTITY_SHORTCUT = (
    "Bottleneck",
    "BasicBlock",
    "InvertedResidual",
    "EdgeResidual",
    "DepthwiseSeparableConv",
    "ConvBnAct",
)
SQUEEZE = (("fc1", "fc2"), ("conv_reduce", "conv_expand"))


def half(width: int) -> int:
    """Half of a width, at least one channel."""
    return max(1, width // 2)


def slimmed(backbone: Backbone, cutoff: str) -> Backbone:
    """A copy of the backbone whose units after the cutoff are half as wide and newly drawn.

    Convolutions are drawn from He's normal distribution (fan out), norms start at 1 and 0. The kept units are
    copies, running statistics included.

    Raises:
        ConfigError: if a unit to be slimmed holds a module whose widths are not described in `CHILDREN`.
    """
    slim = backbone.truncated("full")
    k = backbone.index(cutoff)
    stage = backbone.units[k - 1].section
    width = _width_after(backbone, cutoff)
    for unit in slim.units[k:]:
        unit_in = width
        for piece in unit.pieces:
            module = slim.net.get_submodule(piece)
            keep_out = unit.section == stage and type(module).__name__ in IDENTITY_SHORTCUT
            width = _redraw(module, width, lambda n, keep=keep_out: n if keep else half(n), piece)
        width += unit_in if unit.concat else 0
    return slim


def _width_after(backbone: Backbone, cutoff: str) -> int:
    for size in (32, 64, 128, 256):
        shape = backbone.truncated(cutoff).try_shape((size, size))
        if shape:
            return shape[0]
    raise ConfigError(f"no image of up to 256 pixels passes {backbone.name} up to {cutoff}.")


def _redraw(module: nn.Module, width: int, out_of: Callable[[int], int], path: str) -> int:
    """Fit a unit's piece to its input's width; `out_of` gives the new output width. Returns the latter."""
    roles = CHILDREN.get(f"{type(module).__module__}.{type(module).__qualname__}")
    out = _last_width(module)
    if roles is None:
        return _fit(module, width, width if out is None else out_of(out), path)
    mid = next(
        (_last_width(module.get_submodule(c)) for c, (_, b) in roles.items() if b == "mid"), None
    )
    widths = {"in": width, "mid": half(mid or 1), "out": out_of(out or 1), "half_in": half(width)}
    for name, child in module.named_children():
        if name in roles:
            _fit(child, *(widths[role] for role in roles[name]), f"{path}.{name}")
        elif _has_state(child):
            raise _undescribed(child, f"{path}.{name}")
    return widths["half_in" if ("in", "half_in") in roles.values() else "out"]


def _fit(module: nn.Module, n_in: int, n_out: int, path: str) -> int:
    """Give a module new widths and weights. Returns its output width."""
    squeeze = next(
        (pair for pair in SQUEEZE if hasattr(module, pair[0]) and hasattr(module, pair[1])), None
    )
    if isinstance(module, nn.Conv2d):
        return _fit_conv(module, n_in, n_out)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        _fit_norm(module, n_in)
        return n_in
    if squeeze:
        reduce, expand = (module.get_submodule(name) for name in squeeze)
        reduced = _fit(reduce, n_in, half(_last_width(reduce) or 1), path)
        _fit(expand, reduced, n_in, path)
        return n_in
    if not _has_state(module):
        return n_in
    if isinstance(module, nn.Sequential) or [n for n, _ in module.named_children()][:2] == [
        "conv",
        "bn",
    ]:
        for name, child in module.named_children():
            n_in = _fit(child, n_in, n_out, f"{path}.{name}")
        return n_in
    raise _undescribed(module, path)


def _fit_conv(conv: nn.Conv2d, n_in: int, n_out: int) -> int:
    depthwise = conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels
    if depthwise:
        n_out, conv.groups = n_in, n_in
    else:
        conv.groups = math.gcd(conv.groups, n_in, n_out)
    conv.in_channels, conv.out_channels = n_in, n_out
    weight = conv.weight.new_empty(n_out, n_in // conv.groups, *conv.kernel_size)
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    conv.weight = nn.Parameter(weight)
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.new_zeros(n_out))
    return n_out


def _fit_norm(norm: nn.modules.batchnorm._BatchNorm, width: int) -> None:
    norm.num_features = width
    if norm.affine:
        norm.weight = nn.Parameter(norm.weight.new_ones(width))
        norm.bias = nn.Parameter(norm.bias.new_zeros(width))
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean = norm.running_mean.new_zeros(width)
        norm.running_var = norm.running_var.new_ones(width)
        norm.reset_running_stats()


def _last_width(module: nn.Module) -> int | None:
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    direct = [m for m in module.children() if isinstance(m, nn.Conv2d)] or convs
    return direct[-1].out_channels if direct else None


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _undescribed(module: nn.Module, path: str) -> ConfigError:
    return ConfigError(
        f"strategy=tf cannot slim {path}: the widths of {type(module).__name__} are not described in "
        "ttl_lightning/strategies/slim.py (CHILDREN); ResNets, DenseNets, EfficientNets, VGGs and RegNets are."
    )
