"""The 3D networks, as data: how each is made, which weights fit it, what these expect.

| network | weights published for it | the 2D network whose weights fit when inflated |
|---|---|---|
| `resnext3d_50` | | `resnext50_32x4d` |
| `resnext3d_101` | Kinetics (3D-ResNets) | `resnext101_32x4d` |
| `penet` | PENet | |
| `resnet3d_10` | MedicalNet | |
| `resnet3d_18`, `resnet3d_34` | | `resnet18`, `resnet34` |
| `resnet3d_50` | MedicalNet | `resnet50` |
| `resnet3d_18a`, `resnet3d_34a` | MedicalNet | |
| `densenet3d_121` | | `densenet121` |

MedicalNet trained its ResNets of 18 and 34 layers with shortcuts that hold no weights (type A).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

# Means and standard deviations a channel, on a scale of 0 to 1.
Statistics = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: Statistics = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
# Kinetics' networks take 0 to 255 minus the mean of ActivityNet.
KINETICS: Statistics = ((114.775 / 255, 107.735 / 255, 99.475 / 255), (1 / 255,) * 3)
# The mean of a window of -100 to 900 Hounsfield units.
PENET: Statistics = ((0.15897,), (1.0,))
# MedicalNet's volumes have mean 0 and deviation 1 each, which no fixed pair gives every volume:
# this one does where intensities are spread evenly over the scale.
MEDICALNET: Statistics = ((0.5,), (12**-0.5,))


def of_channels(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    """Statistics of RGB for another number of channels: grey takes their mean."""
    if in_channels == len(values):
        return tuple(values)
    return (sum(values) / len(values),) * in_channels


@dataclass(frozen=True, slots=True)
class Volumetric:
    """A 3D network.

    Attributes:
        make: gives the network for a number of input channels, with random weights.
        first_conv: the convolution that reads the input.
        planar: timm's network whose 2D weights fit when they are inflated.
        statistics: what 3D weights from elsewhere were trained with.
        renames: pairs of a pattern in a file's names and what replaces it.
        unprojected: the same network for weights that have none for the shortcuts.
    """

    make: Callable[[int], nn.Module]
    first_conv: str
    planar: str | None = None
    statistics: Statistics = IMAGENET
    renames: tuple[tuple[str, str], ...] = ()
    unprojected: str | None = None

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors under the network's own names."""
        return {self._own_name(key): value for key, value in tensors.items()}

    def _own_name(self, key: str) -> str:
        for pattern, name in self.renames:
            key = re.sub(pattern, name, key)
        return key


class PaddedShortcut(nn.Module):
    """The shortcut without weights (type A): every `stride`-th voxel, and channels of zeros.

    MONAI's is bound to the whole network, which each copy would drag along, and has no gradient.

    Source: He et al., Deep Residual Learning for Image Recognition (CVPR 2016), section 3.3.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """The map of x, `(N, C, D, H, W)`, with `channels` channels."""
        kept = x[:, :, :: self.stride, :: self.stride, :: self.stride]
        missing = kept.new_zeros(len(kept), self.channels - kept.shape[1], *kept.shape[2:])
        return torch.cat([kept, missing], 1)


def _resnet(in_channels: int, depth: int, shortcut: str = "B") -> nn.Module:
    """MONAI's ResNet with MedicalNet's stem, which halves every dimension, and no head."""
    from monai.networks.nets import resnet

    net: nn.Module = getattr(resnet, f"resnet{depth}")(
        spatial_dims=3,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=False,
        feed_forward=False,
    )
    for block in net.modules():
        bound = getattr(block, "downsample", None)
        if isinstance(bound, partial):
            block.downsample = PaddedShortcut(bound.keywords["planes"], bound.keywords["stride"])
    return net


def _densenet121(in_channels: int) -> nn.Module:
    from monai.networks.nets.densenet import DenseNet121

    net: nn.Module = DenseNet121(spatial_dims=3, in_channels=in_channels, out_channels=1)
    return net


def _resnext(in_channels: int, layers: tuple[int, ...]) -> nn.Module:
    from ttl_lightning.models.nets.resnext3d import ResNeXt3D

    return ResNeXt3D(layers, in_channels)


def _penet(in_channels: int) -> nn.Module:
    from ttl_lightning.models.nets.penet import PENet

    return PENet(in_channels)


def _medicalnet(
    depth: int,
    shortcut: str = "B",
    planar: str | None = None,
    unprojected: str | None = None,
) -> Volumetric:
    make = partial(_resnet, depth=depth, shortcut=shortcut)
    return Volumetric(make, "conv1", planar, MEDICALNET, unprojected=unprojected)


VOLUMETRIC = {
    "resnext3d_50": Volumetric(
        partial(_resnext, layers=(3, 4, 6, 3)), "conv1", "resnext50_32x4d", KINETICS
    ),
    "resnext3d_101": Volumetric(
        partial(_resnext, layers=(3, 4, 23, 3)), "conv1", "resnext101_32x4d", KINETICS
    ),
    "penet": Volumetric(
        _penet, "in_conv.0", statistics=PENET, renames=((r"\bxnet_blocks\b", "penet_blocks"),)
    ),
    "resnet3d_10": _medicalnet(10),
    "resnet3d_18": _medicalnet(18, planar="resnet18", unprojected="resnet3d_18a"),
    "resnet3d_34": _medicalnet(34, planar="resnet34", unprojected="resnet3d_34a"),
    "resnet3d_50": _medicalnet(50, planar="resnet50"),
    "resnet3d_18a": _medicalnet(18, shortcut="A"),
    "resnet3d_34a": _medicalnet(34, shortcut="A"),
    "densenet3d_121": Volumetric(
        _densenet121,
        "features.conv0",
        "densenet121",
        renames=((r"\b(denselayer\d+)\.(norm|conv)", r"\1.layers.\2"),),
    ),
}
