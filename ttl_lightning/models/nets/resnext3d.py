"""ResNeXt for volumes, as the 3D-ResNets project trained it on Kinetics.

Source: Hara et al., Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?
(CVPR 2018), section 3.1, as published there: a stem of 64 channels and projected shortcuts (type
B). Later versions of that project have a stem of 128 channels, which these weights do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

CARDINALITY = 32
PLANES = (128, 256, 512, 1024)
STEM_CHANNELS = 64
KINETICS_CLASSES = 400


class ResNeXtBottleneck(nn.Module):
    """A bottleneck with a grouped convolution: `(N, in, D, H, W)` to `planes * 2` channels.

    MONAI's has no groups, and to replace its convolution by a grouped one takes seconds and half a
    gigabyte for a network of 101 layers.

    Args:
        in_planes: channels of the input.
        planes: channels inside; a multiple of the 32 groups.
        stride: of the grouped convolution, in every dimension.
        downsample: the shortcut where the shape changes, None for the identity.
    """

    expansion = 2

    def __init__(
        self, in_planes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        out_planes = planes * self.expansion
        self.conv1 = nn.Conv3d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(
            planes, planes, 3, stride=stride, padding=1, groups=CARDINALITY, bias=False
        )
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, out_planes, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """The map of x with the shortcut added."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class ResNeXt3D(nn.Module):
    """ResNeXt of 32 groups for volumes: `(N, C, D, H, W)` to `(N, 400)` logits.

    The stem halves height and width and then every dimension; blocks 2 to 4 halve every dimension.

    Args:
        layers: bottlenecks of each of the four blocks: 3, 4, 6, 3 make 50 layers, 3, 4, 23, 3 make
            101.
        in_channels: channels of the input.
    """

    def __init__(self, layers: Sequence[int], in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(
            in_channels, STEM_CHANNELS, 7, stride=(1, 2, 2), padding=3, bias=False
        )
        self.bn1 = nn.BatchNorm3d(STEM_CHANNELS)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        widths = [STEM_CHANNELS, *(planes * ResNeXtBottleneck.expansion for planes in PLANES)]
        self.layer1 = _layer(widths[0], PLANES[0], layers[0], stride=1)
        self.layer2 = _layer(widths[1], PLANES[1], layers[1], stride=2)
        self.layer3 = _layer(widths[2], PLANES[2], layers[2], stride=2)
        self.layer4 = _layer(widths[3], PLANES[3], layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(widths[4], KINETICS_CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of volumes x, `(N, C, D, H, W)`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _layer(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    out_planes = planes * ResNeXtBottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv3d(in_planes, out_planes, 1, stride=stride, bias=False), nn.BatchNorm3d(out_planes)
    )
    first = ResNeXtBottleneck(in_planes, planes, stride, shortcut)
    rest = (ResNeXtBottleneck(out_planes, planes) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
