"""Which width each part of a block reads and writes, as data: what `slim.py` needs to re-draw it.

To add a block: name its class by its full path and give a role to each part that holds weights, by
its path in the block. A variant may lack parts; one with a part that is not named is refused.
"""

from __future__ import annotations

# The roles: the unit's input ("in"), an inner width ("mid"; "squeeze" inside a gate), its output
# ("out"), what it adds to the input's channels ("growth"), or half of its input ("half_in").
Roles = dict[str, tuple[str, str]]

BOTTLENECK: Roles = {
    "conv1": ("in", "mid"), "bn1": ("mid", "mid"),
    "conv2": ("mid", "mid"), "bn2": ("mid", "mid"), "aa": ("mid", "mid"),
    "conv3": ("mid", "out"), "bn3": ("out", "out"),
    "se": ("out", "out"), "downsample": ("in", "out"),
}  # fmt: skip
BASIC_BLOCK: Roles = {
    "conv1": ("in", "mid"), "bn1": ("mid", "mid"), "aa": ("mid", "mid"),
    "conv2": ("mid", "out"), "bn2": ("out", "out"),
    "se": ("out", "out"), "downsample": ("in", "out"),
}  # fmt: skip
TRANSITION: Roles = {"norm": ("in", "in"), "conv": ("in", "half_in")}

CHILDREN: dict[str, Roles] = {
    "timm.models.resnet.Bottleneck": BOTTLENECK,
    "timm.models.resnet.BasicBlock": BASIC_BLOCK,
    "torchvision.models.resnet.Bottleneck": BOTTLENECK,
    "torchvision.models.resnet.BasicBlock": BASIC_BLOCK,
    "timm.models.regnet.Bottleneck": {
        "conv1": ("in", "mid"), "conv2": ("mid", "mid"), "se": ("mid", "mid"),
        "conv3": ("mid", "out"), "downsample": ("in", "out"),
    },
    "timm.models._efficientnet_blocks.ConvBnAct": {"conv": ("in", "out"), "bn1": ("out", "out")},
    "timm.models._efficientnet_blocks.DepthwiseSeparableConv": {
        "conv_dw": ("in", "in"), "bn1": ("in", "in"), "se": ("in", "in"),
        "conv_pw": ("in", "out"), "bn2": ("out", "out"),
    },
    "timm.models._efficientnet_blocks.InvertedResidual": {
        "conv_pw": ("in", "mid"), "bn1": ("mid", "mid"),
        "conv_dw": ("mid", "mid"), "bn2": ("mid", "mid"), "se": ("mid", "mid"),
        "conv_pwl": ("mid", "out"), "bn3": ("out", "out"),
    },
    "timm.models._efficientnet_blocks.EdgeResidual": {
        "conv_exp": ("in", "mid"), "bn1": ("mid", "mid"), "se": ("mid", "mid"),
        "conv_pwl": ("mid", "out"), "bn2": ("out", "out"),
    },
    "timm.models.densenet.DenseLayer": {
        "norm1": ("in", "in"), "conv1": ("in", "mid"),
        "norm2": ("mid", "mid"), "conv2": ("mid", "out"),
    },
    "timm.models.densenet.DenseTransition": TRANSITION,
    "timm.models.convnext.ConvNeXtBlock": {
        "conv_dw": ("in", "in"), "norm": ("in", "in"), "mlp": ("in", "in"),
    },
    "monai.networks.nets.resnet.ResNetBottleneck": BOTTLENECK,
    "monai.networks.nets.resnet.ResNetBlock": BASIC_BLOCK,
    "monai.networks.nets.densenet._DenseLayer": {
        "layers.norm1": ("in", "in"), "layers.conv1": ("in", "mid"),
        "layers.norm2": ("mid", "mid"), "layers.conv2": ("mid", "growth"),
    },
    "monai.networks.nets.densenet._Transition": TRANSITION,
    "ttl_lightning.models.nets.resnext3d.ResNeXtBottleneck": BOTTLENECK,
    "ttl_lightning.models.nets.penet.PENetBottleneck": {
        "conv1": ("in", "mid"), "norm1": ("mid", "mid"),
        "conv2": ("mid", "mid"), "norm2": ("mid", "mid"),
        "conv3": ("mid", "out"), "norm3": ("out", "out"),
        "se_block.excite.0": ("out", "squeeze"), "se_block.excite.2": ("squeeze", "out"),
        "down_sample": ("in", "out"),
    },
}  # fmt: skip
