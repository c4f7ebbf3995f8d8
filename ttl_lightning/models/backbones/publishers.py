"""Whose weights a file holds, by its names, where these expect other pixels or another network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ttl_lightning.models.backbones.naming import SEQUENCES, marked
from ttl_lightning.models.backbones.volumetric import Statistics

# (x - 127.5) * 2 / 255, as in RadImageNet's examples
RADIMAGENET: Statistics = ((0.5,) * 3, (0.5,) * 3)
# pixels from -1024 to 1024
XRAYVISION: Statistics = ((0.5,), (1 / 2048,))
TENSORFLOW_EPS = TORCHVISION_EPS = 1e-3
# networks whose normalisation has another epsilon in torchvision than in timm
_WIDER_EPS = ("mobilenetv3", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7")
# the ends of keys that show it
_TENSORFLOWS = "_blocks.0._depthwise_conv.weight"
_TORCHVISIONS = "features.0.1.running_mean"


def publisher_of(tensors: Mapping[str, Tensor]) -> tuple[str, Statistics] | None:
    """Who published a file of weights that expect pixels of their own, and these."""
    if any(key.endswith("op_threshs") for key in tensors):
        return "torchxrayvision", XRAYVISION
    if any(marked(tensors, naming.mark) is not None for naming in SEQUENCES):
        return "RadImageNet", RADIMAGENET
    return None


def is_tensorflows(tensors: Mapping[str, Tensor]) -> bool:
    """Whether an EfficientNet's weights are padded and normalised as in TensorFlow."""
    return marked(tensors, _TENSORFLOWS) is not None


def torchvisions_eps(tensors: Mapping[str, Tensor], network: str) -> float | None:
    """The epsilon that torchvision's weights of a network need, where it is not timm's."""
    own = marked(tensors, _TORCHVISIONS) is not None and network.startswith(_WIDER_EPS)
    return TORCHVISION_EPS if own else None
