"""PENet's classifier: the hand-made network for pulmonary embolism that truncation is measured by.

Source: Huang et al., PENet: a scalable deep-learning model for automated diagnosis of pulmonary
embolism using volumetric CT imaging (npj Digital Medicine 2020), Methods, and the code published
with it (its `PENetClassifier` of depth 50; its class `PENet`, with a decoder, is another network).
"""

from __future__ import annotations

import math
from collections import OrderedDict

from timm.layers.drop import DropPath
from torch import Tensor, nn

CARDINALITY = 32
CHANNELS_A_GROUP = 16
REDUCTION = 16
STEM_CHANNELS = 64
FIRST_CHANNELS = 128
BLOCKS = (3, 4, 6, 3)
FINAL_SURVIVAL = 0.5  # that of a bottleneck after the last one, so the last one has 0.53
POSITIVE_PRIOR = 0.01


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate that is computed from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool3d(1)
        self.excite = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION),
            nn.LeakyReLU(inplace=True),
            nn.Linear(channels // REDUCTION, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The scaled map of x, `(N, C, D, H, W)`."""
        gate: Tensor = self.excite(self.squeeze(x).flatten(1))
        return x * gate[:, :, None, None, None]


class PENetBottleneck(nn.Module):
    """A grouped bottleneck with group norms and a gate: `(N, in, D, H, W)` to `channels * 2`.

    While it trains, it drops its branch for some volumes of a batch and scales it up for the rest,
    so evaluation computes what the published network does. (That one drops a branch, and with it
    the last activation, for a whole batch and does not scale.)

    Args:
        in_channels: channels of the input.
        channels: channels inside; a multiple of the 32 groups.
        stride: of the grouped convolution, in every dimension.
        survival: the probability that the branch is kept in training.
    """

    expansion = 2

    def __init__(self, in_channels: int, channels: int, stride: int, survival: float) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.down_sample = None
        if stride != 1 or in_channels != out_channels:
            self.down_sample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False),
                _norm(out_channels),
            )
        self.conv1 = nn.Conv3d(in_channels, channels, 1, bias=False)
        self.norm1 = _norm(channels)
        self.conv2 = nn.Conv3d(
            channels, channels, 3, stride=stride, padding=1, groups=CARDINALITY, bias=False
        )
        self.norm2 = _norm(channels)
        self.conv3 = nn.Conv3d(channels, out_channels, 1, bias=False)
        self.norm3 = _norm(out_channels)
        self.se_block = SqueezeExcitation(out_channels)
        self.drop_path = DropPath(1 - survival)
        self.relu = nn.LeakyReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The map of x with the shortcut added."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.drop_path(self.se_block(self.norm3(self.conv3(out))))
        out = out + (x if self.down_sample is None else self.down_sample(x))
        activated: Tensor = self.relu(out)
        return activated


class PENet(nn.Module):
    """PENet's classifier: `(N, C, D, H, W)` to `(N, 1)` logits.

    The stem halves height and width and then every dimension; encoders 2 to 4 halve every
    dimension. Each bottleneck starts as its shortcut, and the logit at a probability of 0.01.

    Args:
        in_channels: channels of the input.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(
            nn.Conv3d(in_channels, STEM_CHANNELS, 7, stride=(1, 2, 2), padding=3, bias=False),
            _norm(STEM_CHANNELS),
            nn.LeakyReLU(inplace=True),
        )
        self.max_pool = nn.MaxPool3d(3, stride=2, padding=1)
        self.encoders = nn.ModuleList()
        width, total = STEM_CHANNELS, sum(BLOCKS)
        survivals = iter(1 - k / total * (1 - FINAL_SURVIVAL) for k in range(total))
        for i, count in enumerate(BLOCKS):
            blocks = list[nn.Module]()
            for k in range(count):
                stride = 2 if i > 0 and k == 0 else 1
                block = PENetBottleneck(width, FIRST_CHANNELS * 2**i, stride, next(survivals))
                blocks.append(block)
                width = FIRST_CHANNELS * 2**i * block.expansion
            self.encoders.append(_named(penet_blocks=nn.Sequential(*blocks)))
        self.classifier = _named(
            avg_pool=nn.AdaptiveAvgPool3d(1), flatten=nn.Flatten(), fc=nn.Linear(width, 1)
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            if isinstance(module, PENetBottleneck):
                nn.init.zeros_(module.norm3.weight)
        bias = self.classifier.get_parameter("fc.bias")
        nn.init.constant_(bias, math.log(POSITIVE_PRIOR / (1 - POSITIVE_PRIOR)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of volumes x, `(N, C, D, H, W)`."""
        x = self.max_pool(self.in_conv(x))
        for encoder in self.encoders:
            x = encoder(x)
        logits: Tensor = self.classifier(x)
        return logits


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // CHANNELS_A_GROUP, channels)


def _named(**children: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(children))
