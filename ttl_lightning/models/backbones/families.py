"""Where each family's units lie, as data: the only place that knows how networks name their parts.

To add a family: write one `Layout` and enter it in `LAYOUTS` under the package and the class name
of the source network (libraries share class names). `{n}` counts a network's blocks from 1, `{i}`
from 0. Where the resolution changes inside a unit (before a stem's pool), name its pieces apart:
the map after each piece can be had, so a decoder gets both. No unit may begin with an activation in
place, which would write into the map before it. Every module of the source network must be named by
its layout, in a section or as part of the head, so a variant with an unknown part is refused, not
cut short.

A package of yours adds layouts through the entry point group `ttl_lightning.layouts`: the name is
that under which it would stand here, the object a `Layout`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from ttl_lightning.models.backbones.flows import (
    BEIT_TOKENS,
    CHANNELS_LAST,
    PLAIN_TOKENS,
    PYRAMID_TOKENS,
    ROTARY_TOKENS,
)
from ttl_lightning.models.backbones.layouts import Each, Layout, One, Runs

LAYOUTS = {
    "timm.ResNet": Layout(
        family="ResNet, ResNeXt, SE-ResNet, Wide ResNet",
        stem=One(("conv1", "bn1", "act1", "maxpool")),
        block=(Each("layer{n}"),),
        head=("global_pool", "fc"),
    ),
    "timm.DenseNet": Layout(
        family="DenseNet",
        stem=One(
            (
                *(f"features.{kind}{k}" for k in range(3) for kind in ("conv", "norm")),
                "features.pool0",
            )
        ),
        block=(Each("features.denseblock{n}", concat=True), One(("features.transition{n}",))),
        tail=One(("features.norm5",)),
        head=("global_pool", "head_drop", "classifier"),
    ),
    "timm.EfficientNet": Layout(
        family="EfficientNet (lite too), MobileNetV2",
        stem=One(("conv_stem", "bn1")),
        block=(Each("blocks.{i}"),),
        tail=One(("conv_head", "bn2")),
        head=("global_pool", "classifier"),
    ),
    "timm.MobileNetV3": Layout(
        family="MobileNetV3",
        stem=One(("conv_stem", "bn1")),
        block=(Each("blocks.{i}"),),
        head=("global_pool", "conv_head", "norm_head", "act2", "flatten", "classifier"),
    ),
    "timm.VGG": Layout(
        family="VGG (with and without BatchNorm)",
        runs=Runs("features", starts="Conv2d", ends="MaxPool2d"),
        head=("pre_logits", "head"),
    ),
    "timm.ConvNeXt": Layout(
        family="ConvNeXt",
        stem=One(tuple(f"stem.{k}" for k in range(4))),
        block=(Each("stages.{i}.blocks", opening=("stages.{i}.downsample",)),),
        tail=One(("norm_pre",)),
        head=("head",),
    ),
    "timm.RegNet": Layout(
        family="RegNet",
        stem=One(("stem",)),
        block=(Each("s{n}"),),
        tail=One(("final_conv",)),
        head=("head",),
    ),
    "monai.ResNet": Layout(
        family="MONAI's ResNet",
        stem=One(("conv1", "bn1", "act", "maxpool")),
        block=(Each("layer{n}"),),
        head=("avgpool", "fc"),
    ),
    "monai.DenseNet121": Layout(
        family="MONAI's DenseNet121",
        stem=One(tuple(f"features.{kind}0" for kind in ("conv", "norm", "relu", "pool"))),
        # its layers concatenate by themselves
        block=(Each("features.denseblock{n}"), One(("features.transition{n}",))),
        tail=One(("features.norm5", "class_layers.relu")),
        head=("class_layers.pool", "class_layers.flatten", "class_layers.out"),
    ),
    "ttl_lightning.ResNeXt3D": Layout(
        family="ResNeXt3D",
        stem=One(("conv1", "bn1", "relu", "maxpool")),
        block=(Each("layer{n}"),),
        head=("avgpool", "fc"),
    ),
    "ttl_lightning.PENet": Layout(
        family="PENet",
        stem=One(("in_conv", "max_pool")),
        block=(Each("encoders.{i}.penet_blocks"),),
        head=("classifier",),
    ),
}

_STAGES = (Each("stages.{i}.blocks", opening=("stages.{i}.downsample", "stages.{i}.pos_emb")),)
_VIT = Layout(
    family="ViT (DeiT, DINO and DINOv2, CLIP, MAE …)",
    flow=PLAIN_TOKENS,
    stem=One(("patch_embed", "norm_pre")),
    holds=("cls_token", "dist_token", "reg_token", "pos_embed", "pos_drop"),
    block=(One(("blocks.{i}",)),),
    tail=One(("norm",)),
    head=("patch_drop", "attn_pool", "fc_norm", "head_drop", "head", "head_dist"),
)
_SWIN = Layout(
    family="Swin, Swin V2",
    flow=CHANNELS_LAST,
    stem=One(("patch_embed",)),
    block=(Each("layers.{i}.blocks", opening=("layers.{i}.downsample",)),),
    tail=One(("norm",)),
    head=("head",),
)
_GHOST = Layout(
    family="GhostNet, RepGhost",
    stem=One(("conv_stem", "bn1", "act1")),
    block=(Each("blocks.{i}"),),
    head=("global_pool", "conv_head", "act2", "flatten", "classifier"),
)
_MIXED = ((5, "bcd"), (6, "abcde"), (7, "abc"))
_TORCHVISIONS_RESNET = One(("conv1", "bn1", "relu", "maxpool"))
LAYOUTS |= {
    "torchvision.ResNet": replace(
        LAYOUTS["timm.ResNet"],
        family="torchvision's ResNet",
        stem=_TORCHVISIONS_RESNET,
        head=("avgpool", "fc"),
    ),
    "torchvision.DenseNet": replace(
        LAYOUTS["timm.DenseNet"],
        family="torchvision's DenseNet",
        stem=One(tuple(f"features.{kind}0" for kind in ("conv", "norm", "relu", "pool"))),
        head=("classifier",),
    ),
    "timm.VisionTransformer": _VIT,
    "timm.VisionTransformerDistilled": _VIT,
    "timm.Eva": replace(
        _VIT,
        family="EVA, EVA-02, DINOv3, RoPE ViTs",
        flow=ROTARY_TOKENS,
        holds=(*_VIT.holds, "rope"),
    ),
    "timm.Beit": replace(
        _VIT, family="BEiT", flow=BEIT_TOKENS, holds=(*_VIT.holds, "rel_pos_bias")
    ),
    "timm.SwinTransformer": _SWIN,
    "timm.SwinTransformerV2": _SWIN,
    "timm.PyramidVisionTransformerV2": Layout(
        family="PVT V2",
        flow=PYRAMID_TOKENS,
        stem=One(("patch_embed",)),
        block=(
            Each(
                "stages.{i}.blocks",
                opening=("stages.{i}.downsample",),
                closing=("stages.{i}.norm",),
            ),
        ),
        head=("head_drop", "head"),
    ),
    "timm.MaxxVit": Layout(
        family="MaxViT, MaxxViT, CoAtNet",
        stem=One(("stem",)),
        block=(Each("stages.{i}.blocks"),),
        tail=One(("norm",)),
        head=("head",),
    ),
    "timm.ResNetV2": Layout(
        family="ResNetV2, BiT",
        stem=One(("stem",)),
        block=(Each("stages.{i}.blocks"),),
        tail=One(("norm",)),
        head=("head",),
    ),
    "timm.NormFreeNet": Layout(
        family="NFNet, NF-ResNet, NF-RegNet",
        stem=One(("stem",)),
        block=(Each("stages.{i}"),),
        tail=One(("final_conv", "final_act")),
        head=("head",),
    ),
    "timm.ByobNet": Layout(
        family="RepVGG, MobileOne, MobileViT, GENet, ResNets with other attention",
        stem=One(("stem",)),
        block=(Each("stages.{i}"),),
        tail=One(("final_conv",)),
        head=("head",),
    ),
    "timm.CspNet": Layout(
        family="CSPNet, DarkNet (a unit is a stage, which is crossed as a whole)",
        stem=One(("stem",)),
        block=(One(("stages.{i}",)),),
        head=("head",),
    ),
    "timm.DLA": Layout(
        family="DLA (a unit is a level, which is a tree)",
        stem=One(("base_layer",)),
        block=(One(("level{i}",)),),
        head=("global_pool", "head_drop", "fc", "flatten"),
    ),
    "timm.FastVit": Layout(
        family="FastViT",
        stem=One(("stem",)),
        block=_STAGES,
        tail=One(("final_conv",)),
        head=("head",),
    ),
    "timm.HighPerfGpuNet": Layout(
        family="HGNet, HGNetV2", stem=One(("stem",)), block=_STAGES, head=("head",)
    ),
    "timm.MambaOut": Layout(
        family="MambaOut",
        flow=CHANNELS_LAST,
        stem=One(("stem",)),
        block=_STAGES,
        head=("head",),
    ),
    "timm.GhostNet": _GHOST,
    "timm.RepGhostNet": _GHOST,
    "timm.SENet": Layout(
        family="SENet, SE-ResNet and SE-ResNeXt of before (legacy)",
        stem=One(("layer0", "pool0")),
        block=(Each("layer{n}"),),
        head=("global_pool", "last_linear"),
    ),
    "timm.InceptionV3": Layout(
        family="Inception V3",
        stem=One(("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Pool1")),
        blocks=(
            (("Conv2d_3b_1x1",), ("Conv2d_4a_3x3", "Pool2")),
            *(tuple((f"Mixed_{n}{k}",) for k in letters) for n, letters in _MIXED),
        ),
        head=("global_pool", "head_drop", "fc", "AuxLogits"),
    ),
    "timm.InceptionV4": Layout(
        family="Inception V4",
        stem=One(tuple(f"features.{k}" for k in range(3))),
        blocks=tuple(
            tuple((f"features.{k}",) for k in range(*ends))
            for ends in itertools.pairwise((3, 6, 10, 18, 22))
        ),
        head=("global_pool", "head_drop", "last_linear"),
    ),
    "timm.Xception": Layout(
        family="Xception",
        stem=One(("conv1", "bn1", "act1", "conv2", "bn2", "act2")),
        block=(One(("block{n}",)),),
        tail=One(("conv3", "bn3", "act3", "conv4", "bn4", "act4")),
        head=("global_pool", "fc"),
    ),
    "timm.XceptionAligned": Layout(
        family="Xception (aligned)",
        stem=One(("stem",)),
        block=(One(("blocks.{i}",)),),
        tail=One(("act",)),
        head=("head",),
    ),
}
