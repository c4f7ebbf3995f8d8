"""Re-draw the units after a cutoff at half their width, with new weights.

A unit that adds its own input to its result must stay as wide as that input: only its inner width
is halved. So the rest of the cutoff's own stage keeps its width, and each later stage is halved by
its first unit, which takes the wider map and gives the narrower one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from torch import nn

from ttl_lightning.errors import ConfigError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.volumetric import PaddedShortcut
from ttl_lightning.models.strategies.attention import redraw_transformer
from ttl_lightning.models.strategies.widths import CHILDREN

Conv = nn.Conv2d | nn.Conv3d
Norm = nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm

# The two layers of a squeeze-excitation or an MLP: into an inner width, and back.
INNER = (("fc1", "fc2"), ("conv_reduce", "conv_expand"))
LAYER_SCALE = 1e-6  # where ConvNeXt's own factors start


def half(width: int) -> int:
    """Half of a width, at least one channel."""
    return max(1, width // 2)


def slimmed(backbone: Backbone, cutoff: str) -> Backbone:
    """A copy of the backbone whose units after the cutoff are half as wide and newly drawn.

    Convolutions are drawn from He's normal distribution (fan out), norms start at 1 and 0. The kept
    units are copies, running statistics included. Of transformers the heads and the MLPs are
    halved (`attention`).

    Raises:
        ConfigError: if a unit to be slimmed holds a module that `CHILDREN` does not describe.
    """
    slim = backbone.truncated("full")
    at = slim.index(cutoff)
    width = slim.units[at - 1].channels
    if slim.flow.generic:
        raise ConfigError(
            f"strategy=tf halves blocks that it knows, and of {slim.name} only the stages are "
            "known: no layout describes it."
        )
    if slim.flow.channels_last:
        for unit in slim.units[at:]:
            for piece in unit.pieces:
                redraw_transformer(slim.net.get_submodule(piece), piece)
        return slim
    for unit in slim.units[at:]:
        unit_in = width
        for piece in unit.pieces:
            width = _redraw(slim.net.get_submodule(piece), width, piece)
        width += unit_in if unit.concat else 0
    slim.measure()
    return slim


def _redraw(module: nn.Module, width: int, path: str) -> int:
    """Fit a unit's piece to the width of its input. Returns the width of its output."""
    roles = CHILDREN.get(f"{type(module).__module__}.{type(module).__qualname__}")
    out = _last_width(module)
    if roles is None:
        return _fit(module, width, width if out is None else half(out), path)
    parts = {name: part for name, part in module.named_modules() if name in roles}
    _check_described(module, parts, path)
    widths = {
        "in": width,
        "out": width if _adds_its_input(module) else half(out or 1),
        "growth": half(out or 1),
        "half_in": half(width),
    }
    for name, part in parts.items():
        widths.setdefault(roles[name][1], half(_last_width(part) or 1))  # an inner width
    for name, part in parts.items():
        reads, writes = roles[name]
        _fit(part, widths[reads], widths[writes], f"{path}.{name}")
    for name, scale in module.named_parameters(recurse=False):
        setattr(module, name, nn.Parameter(scale.new_full((widths["out"],), LAYER_SCALE)))
    written = {writes for _, writes in roles.values()}
    if "growth" in written:
        return width + widths["growth"]
    return widths["half_in" if "half_in" in written else "out"]


def _check_described(module: nn.Module, parts: Iterable[str], path: str) -> None:
    for name, child in module.named_modules():
        inside = any(name == part or name.startswith(f"{part}.") for part in parts)
        if name and not inside and _has_state(child, recurse=False):
            raise _undescribed(child, f"{path}.{name}")


def _adds_its_input(module: nn.Module) -> bool:
    """Whether a block's shortcut is the identity."""
    if hasattr(module, "has_skip"):  # EfficientNets
        return bool(module.has_skip)
    for name in ("downsample", "down_sample"):  # ResNets and RegNets; PENet
        if hasattr(module, name):
            shortcut = getattr(module, name)
            projected = isinstance(shortcut, nn.Module) and _has_state(shortcut)
            # RegNets' None is no shortcut where widths differ
            first = next(m for m in module.modules() if isinstance(m, Conv))
            return first.in_channels == _last_width(module) and not projected
    return isinstance(getattr(module, "shortcut", None), nn.Identity)  # ConvNeXts


def _fit(module: nn.Module, n_in: int, n_out: int, path: str) -> int:
    """Give a module new widths and weights. Returns its output width."""
    if isinstance(module, Conv):
        return _fit_conv(module, n_in, n_out)
    if isinstance(module, nn.Linear):
        return _fit_linear(module, n_in, n_out)
    if isinstance(module, Norm):
        _fit_norm(module, n_in)
        return n_in
    if isinstance(module, PaddedShortcut):
        module.channels = n_out
        return n_out
    children = dict(module.named_children())
    for first, second in INNER:
        if first in children and second in children:
            widest = half(_last_width(children[first]) or 1)
            widths = {first: (n_in, widest), second: (widest, n_in)}
            _check_described(module, widths, path)
            for name, (reads, writes) in widths.items():
                _fit(children[name], reads, writes, f"{path}.{name}")
            return n_in
    if not _has_state(module):
        return n_in
    if isinstance(module, nn.Sequential) or [*children][:2] == ["conv", "bn"]:
        for name, child in children.items():
            n_in = _fit(child, n_in, n_out, f"{path}.{name}")
        return n_in
    raise _undescribed(module, path)


def _fit_conv(conv: Conv, n_in: int, n_out: int) -> int:
    depthwise = conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels
    if depthwise:
        n_out, conv.groups = n_in, n_in
    else:
        conv.groups = math.gcd(conv.groups, n_in, n_out)
    conv.in_channels, conv.out_channels = n_in, n_out
    weight = conv.weight.new_empty(n_out, n_in // conv.groups, *conv.kernel_size)
    # not kaiming_normal_: it takes a depthwise filter's output for a sum over all channels
    fan_out = n_out // conv.groups * math.prod(conv.kernel_size)
    conv.weight = nn.Parameter(nn.init.normal_(weight, std=math.sqrt(2 / fan_out)))
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.new_zeros(n_out))
    return n_out


def _fit_linear(linear: nn.Linear, n_in: int, n_out: int) -> int:
    linear.in_features, linear.out_features = n_in, n_out
    weight = linear.weight.new_empty(n_out, n_in)
    linear.weight = nn.Parameter(nn.init.normal_(weight, std=math.sqrt(2 / n_out)))
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.new_zeros(n_out))
    return n_out


def _fit_norm(norm: Norm, width: int) -> None:
    if norm.weight is not None:
        norm.weight = nn.Parameter(norm.weight.new_ones(width))
    if norm.bias is not None:
        norm.bias = nn.Parameter(norm.bias.new_zeros(width))
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (width,)
        return
    if isinstance(norm, nn.GroupNorm):
        a_group = norm.num_channels // norm.num_groups
        norm.num_channels, norm.num_groups = width, math.gcd(width, max(1, width // a_group))
        return
    norm.num_features = width
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean = norm.running_mean.new_zeros(width)
        norm.running_var = norm.running_var.new_ones(width)
        norm.reset_running_stats()


def _last_width(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    convs = [m for m in module.modules() if isinstance(m, Conv)]
    direct = [m for m in module.children() if isinstance(m, Conv)] or convs
    return direct[-1].out_channels if direct else None


def _has_state(module: nn.Module, *, recurse: bool = True) -> bool:
    tensors = itertools.chain(module.parameters(recurse), module.buffers(recurse))
    return any(True for _ in tensors)


def _undescribed(module: nn.Module, path: str) -> ConfigError:
    return ConfigError(
        f"strategy=tf cannot slim {path}: the widths of {type(module).__name__} are not described "
        "in ttl_lightning/models/strategies/widths.py (CHILDREN); those of ResNets, DenseNets, "
        "EfficientNets, MobileNets up to V3, VGGs, ConvNeXts, RegNets and PENet are."
    )
