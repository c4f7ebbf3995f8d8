"""A file's tensors under the names of timm's network, whoever named them.

Tried in this order, and the first that fills the network is taken: the names as they are, those of
a table below, what timm itself converts (original ViTs, Swins and ConvNeXts; positions of another
image size), and last the tensors' order and shapes. Nothing is filled in part: what does not fit
completely is an error (`checkpoints.matched`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ttl_lightning.models.backbones.tensors import COUNTER, found_under

# what networks compute themselves, and some checkpoints hold
_DERIVED = ("relative_position_index", "relative_coords_table", "attn_mask")
AS_GIVEN, BY_TIMM, BY_ORDER = "", "as timm converts them", "by order and shape"
_KINDS = ("weight", "bias", "running_mean", "running_var", COUNTER)


class Naming(NamedTuple):
    """How another library names a network's tensors.

    Attributes:
        name: for people.
        mark: the end of a key that shows it; what is before it is a prefix of all.
        pairs: patterns in what follows the prefix, and what takes their place.
    """

    name: str
    mark: str
    pairs: tuple[tuple[str, str], ...]


RESNET_IN_SEQUENCE = Naming(
    "as a ResNet in a Sequential",
    "4.0.conv1.weight",
    (
        *((r"^0\.", "conv1."), (r"^1\.", "bn1.")),
        *((rf"^{n + 3}\.", f"layer{n}.") for n in range(1, 5)),
    ),
)
DENSENET_IN_SEQUENCE = Naming(
    "as a DenseNet in a Sequential",
    "0.denseblock1.denselayer1.norm1.weight",
    ((r"^0\.", "features."),),
)
SEQUENCES = (RESNET_IN_SEQUENCE, DENSENET_IN_SEQUENCE)
"""RadImageNet's; its Inception V3 is known by order and shape."""

NAMINGS = (
    *SEQUENCES,
    Naming(
        "as torchvision's Swin",
        "features.1.0.attn.relative_position_bias_table",
        (
            (r"^features\.0\.0\.", "patch_embed.proj."),
            (r"^features\.0\.2\.", "patch_embed.norm."),
            *((rf"^features\.{2 * n + 1}\.", f"layers.{n}.blocks.") for n in range(4)),
            *((rf"^features\.{2 * n}\.", f"layers.{n}.downsample.") for n in range(1, 4)),
            *((r"\.mlp\.0\.", ".mlp.fc1."), (r"\.mlp\.3\.", ".mlp.fc2.")),
        ),
    ),
    Naming(
        "as torchvision's ViT",
        "encoder.layers.encoder_layer_0.ln_1.weight",
        (
            *((r"^conv_proj\.", "patch_embed.proj."), (r"^class_token$", "cls_token")),
            (r"^encoder\.pos_embedding$", "pos_embed"),
            (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
            *((r"\.ln_1\.", ".norm1."), (r"\.ln_2\.", ".norm2."), (r"^encoder\.ln\.", "norm.")),
            (r"\.self_attention\.in_proj_", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            *((r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."), (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2.")),
        ),
    ),
)


class Named(NamedTuple):
    """Tensors under a network's own names.

    Attributes:
        how: they were found; empty for names as they are.
        prefix: that was taken off.
    """

    tensors: dict[str, Tensor]
    how: str
    prefix: str


def in_own_names(
    tensors: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    net: nn.Module,
) -> Named:
    """The reading of a file that fills most of a network.

    Args:
        tensors: what the file holds.
        needed: the network's tensors that must be filled, by key.
        state: all tensors of its units, in its order.
        net: timm's network.

    Raises:
        WeightsError: if the file holds several networks that fit alike.
    """
    wanted = [key for key in needed if not key.endswith(COUNTER)]
    tensors = {k: v for k, v in tensors.items() if not k.endswith(_DERIVED)}
    most, best = -1, Named(dict(tensors), AS_GIVEN, "")
    for named in _readings(tensors, needed, state, net):
        if named.how == BY_ORDER and most > len(wanted) / 2:
            break  # the names are known, and the file is damaged
        own = named.tensors
        fits = sum(key in own and _alike(own[key], needed[key]) for key in wanted)
        if fits > most:
            most, best = fits, named
        if most == len(wanted):
            break
    return best


def marked(tensors: Mapping[str, Tensor], mark: str) -> str | None:
    """The prefix under which a file has another library's names; None if it has not."""
    for key in tensors:
        if key == mark or key.endswith(f".{mark}"):
            return key.removesuffix(mark)
    return None


def _readings(
    tensors: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    net: nn.Module,
) -> Iterator[Named]:
    prefix = found_under(tensors, needed)
    given = under(tensors, prefix)
    yield Named(given, AS_GIVEN, prefix)
    for naming in NAMINGS:
        at = marked(tensors, naming.mark)
        if at is not None:
            renamed = {_renamed(k, naming.pairs): v for k, v in under(tensors, at).items()}
            yield Named(renamed, naming.name, at)
    if converted := _by_timm(given, net):
        yield Named(converted, BY_TIMM, prefix)
    for at in ("", *dict.fromkeys(f"{key.partition('.')[0]}." for key in tensors)):
        if aligned := _by_order(under(tensors, at), state):
            yield Named(aligned, BY_ORDER, at)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by what follows it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _renamed(key: str, pairs: Sequence[tuple[str, str]]) -> str:
    for pattern, name in pairs:
        key = re.sub(pattern, name, key)
    return key


def _by_timm(tensors: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor] | None:
    """What timm's own filter of the family's checkpoints makes of a file."""
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return None
    try:
        found = convert(dict(tensors), net)
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError, IndexError):
        return None  # it takes a file of its family for granted
    return {k: v for k, v in found.items() if isinstance(v, Tensor)}


def _by_order(
    tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """The tensors one after the other, if kinds and shapes agree; a head's are left over."""
    counted = any(key.endswith(COUNTER) for key in tensors)
    # not indices and masks, which are no weights
    given = [
        (k, v)
        for k, v in tensors.items()
        if v.is_floating_point() or (counted and k.endswith(COUNTER))
    ]
    wanted = [(k, v) for k, v in state.items() if counted or not k.endswith(COUNTER)]
    if not len(wanted) <= len(given) <= len(wanted) + 4:
        return None
    found = {}
    for (theirs, value), (ours, tensor) in zip(given, wanted, strict=False):
        same_kind = _kind(theirs) == _kind(ours)
        if not same_kind or _extents(value) != _extents(tensor):
            return None
        found[ours] = value.reshape(tensor.shape)
    return found


def _kind(key: str) -> str:
    leaf = key.rpartition(".")[2]
    return leaf if leaf in _KINDS else ""


def _extents(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1)


def _alike(value: Tensor, needed: Tensor) -> bool:
    """Whether a tensor fits; the channels of an input may differ, and are adapted."""
    if value.shape == needed.shape:
        return True
    return value.ndim == needed.ndim > 3 and value.shape[:1] + value.shape[2:] == (
        needed.shape[:1] + needed.shape[2:]
    )
