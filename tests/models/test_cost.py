from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from ttl_lightning.models.cost import (
    complexity,
    count_parameters,
)
from ttl_lightning.models.create import create_model

# network, strategy, cutoff, pooling, parameters in millions, MACs in G, at 224 pixels, 2 classes.
# The paper's own figures (Tables 1 and 3).
PAPER = [
    ("resnet50", "ftl", None, True, 23.5, 4.12),
    ("resnet50", "ttl", "block3", True, 8.55, 3.31),
    ("resnet50", "ttl", "block3.4", True, 6.31, 2.87),
    ("resnet50", "tf", "block3", True, 12.9, 3.56),
    ("efficientnet_b0", "ttl", "block5", False, 0.896, 0.255),
    ("densenet121", "ttl", "block2", False, 1.53, 2.11),
]

# Computed apart from this project: parameters by hand-cut networks, MACs with ptflops 0.7.5 without
# functional operators; EfficientNets' with fvcore 0.1.5, since ptflops does not count their fused
# norms. The tensors of the cut networks were timm's (1.0.31) and torchvision's.
COMPUTED = [
    ("resnet50", "ttl", "stem", True, 0.0097, 0.1214),
    ("resnet50", "ttl", "block1", True, 0.2259, 0.8024),
    ("resnet50", "ttl", "block2", True, 1.446, 1.8386),
    ("resnet50", "ttl", "block3", False, 8.9447, None),
    ("resnet50", "ttl", "block4.1", True, 14.5869, 3.6822),
    ("densenet121", "ttl", "block1", True, 0.3781, 1.2827),
    ("densenet121", "ttl", "block3.7", True, 2.0108, 2.2263),
    ("efficientnet_b0", "ttl", "block3", True, 0.0658, 0.1229),
    ("efficientnet_b0", "ftl", None, True, 4.0101, 0.3981),
    ("efficientnet_lite0", "ttl", "block5", True, 0.701, 0.2553),
    ("efficientnet_lite0", "ftl", None, True, 3.3736, 0.3974),
]

VGG19 = [("block1", 0.0389, 1.9533), ("block3", 2.3261, 11.2163), ("full", 20.0254, 19.5443)]

# TransFusion after the first k bottlenecks of ResNet-50, computed apart with ptflops 0.7.5 without
# functional operators on networks built as the authors' code builds them: parameters, MACs
TF_RESNET50 = [
    (6.0133, 1.4095),
    (6.0574, 1.5481),
    (6.1016, 1.6868),
    (6.6082, 2.0468),
    (6.7846, 2.1852),
    (6.961, 2.3236),
    (7.1373, 2.462),
    (9.4224, 2.8722),
    (10.1274, 3.0104),
    (10.8324, 3.1487),
    (11.5375, 3.2869),
    (12.2425, 3.4252),
    (12.9475, 3.5634),
    (17.874, 3.8436),
    (20.6931, 3.9817),
    (23.5121, 4.1199),
]
# 24 x 192 x 192, 2 classes, pooled: channels and positions of the map, parameters in millions and
# MACs in G, computed apart with ptflops 0.7.5 on networks built as their authors' code builds them
VOLUMES = {
    "resnext3d_101": [
        ("stem", 64, 12 * 48 * 48, 0.0661, 14.6247),
        ("block1", 256, 12 * 48 * 48, 0.3, 21.1275),
        ("block2.1", 512, 6 * 24 * 24, 0.6865, 24.0639),
        ("block2", 512, 6 * 24 * 24, 1.645, 27.387),
        ("block3.10", 1024, 3 * 12 * 12, 14.6488, 33.8091),
        ("block3", 1024, 3 * 12 * 12, 31.2089, 40.9746),
        ("full", 2048, 2 * 6 * 6, 47.5253, 42.5284),
    ],
    "penet": [
        ("stem", 64, 12 * 48 * 48, 0.0661, 14.6247),
        ("block1", 256, 12 * 48 * 48, 0.3254, 21.1488),
        ("block2.2", 512, 6 * 24 * 24, 1.098, 25.1965),
        ("block2", 512, 6 * 24 * 24, 1.8036, 27.4155),
        ("block3", 1024, 3 * 12 * 12, 10.5049, 31.6362),
        ("full", 2048, 2 * 6 * 6, 28.4008, 33.1921),
    ],
}
TF_DENSENET201 = [
    ("block1", 5.0986, 2.1493),
    ("block2", 6.3149, 2.7969),
    ("block3", 13.8313, 4.1556),
]


def model_of(name: str, strategy: str, cutoff: str | int | None, *, pooling: bool) -> nn.Module:
    return create_model(
        name, strategy, cutoff, num_classes=2, pooling=pooling, image_size=224, weights=None
    )


@pytest.mark.parametrize(("name", "strategy", "cutoff", "pooling", "params_m", "macs_g"), PAPER)
def test_the_papers_rows(
    name: str, strategy: str, cutoff: str | None, pooling: bool, params_m: float, macs_g: float
) -> None:
    result = complexity(model_of(name, strategy, cutoff, pooling=pooling), (3, 224, 224))
    assert result.params / 1e6 == pytest.approx(params_m, rel=0.005)
    assert result.macs / 1e9 == pytest.approx(macs_g, rel=0.005)
    assert result.params == result.trainable_params
    assert sum(result.macs_by_op.values()) == result.macs


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strategy", "cutoff", "pooling", "params_m", "macs_g"), COMPUTED)
def test_computed_rows(
    name: str,
    strategy: str,
    cutoff: str | None,
    pooling: bool,
    params_m: float,
    macs_g: float | None,
) -> None:
    model = model_of(name, strategy, cutoff, pooling=pooling)
    assert count_parameters(model)[0] / 1e6 == pytest.approx(params_m, abs=1e-4)
    if macs_g is not None:
        macs = complexity(model, (3, 224, 224))
        assert macs.macs / 1e9 == pytest.approx(macs_g, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("k", range(1, 17))
def test_parameters_of_transfusion_at_every_bottleneck(k: int) -> None:
    with torch.device("meta"):
        model = model_of("resnet50", "tf", 1 + k, pooling=True)
    assert count_parameters(model)[0] / 1e6 == pytest.approx(TF_RESNET50[k - 1][0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 5, 10, 14])
def test_macs_of_transfusion(k: int) -> None:
    macs = complexity(model_of("resnet50", "tf", 1 + k, pooling=True), (3, 224, 224))
    assert macs.macs / 1e9 == pytest.approx(TF_RESNET50[k - 1][1], rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("cutoff", "params_m", "macs_g"), TF_DENSENET201)
def test_parameters_of_transfusion_in_densenet201(
    cutoff: str, params_m: float, macs_g: float
) -> None:
    assert macs_g
    with torch.device("meta"):
        model = model_of("densenet201", "tf", cutoff, pooling=True)
    assert count_parameters(model)[0] / 1e6 == pytest.approx(params_m, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("cutoff", "params_m", "macs_g"), TF_DENSENET201)
def test_macs_of_transfusion_in_densenet201(cutoff: str, params_m: float, macs_g: float) -> None:
    model = model_of("densenet201", "tf", cutoff, pooling=True)
    result = complexity(model, (3, 224, 224))
    assert result.params / 1e6 == pytest.approx(params_m, abs=1e-4)
    assert result.macs / 1e9 == pytest.approx(macs_g, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("cutoff", "params_m", "macs_g"), VGG19)
def test_vgg19(cutoff: str, params_m: float, macs_g: float) -> None:
    result = complexity(model_of("vgg19", "ttl", cutoff, pooling=True), (3, 224, 224))
    assert result.params / 1e6 == pytest.approx(params_m, abs=1e-4)
    assert result.macs / 1e9 == pytest.approx(macs_g, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_of_24x192x192_at_every_stage(name: str) -> None:
    """What the units up to a cutoff cost, and a head there: the full network is counted once."""
    model = create_model(name, "ftl", image_size=(24, 192, 192), weights=None)
    result = complexity(model, (3, 24, 192, 192))
    assert sum(result.macs_by_unit.values()) == result.macs
    by_unit = [result.macs_by_unit[unit] for unit in model.backbone.cutoffs]
    for cutoff, channels, positions, params_m, macs_g in VOLUMES[name]:
        head_params, head_macs = 2 * channels + 2, channels * positions + 2 * channels
        units = model.backbone.units[: model.backbone.index(cutoff)]
        pieces = [model.backbone.net.get_submodule(p) for unit in units for p in unit.pieces]
        params = sum(count_parameters(piece)[0] for piece in pieces) + head_params
        assert params / 1e6 == pytest.approx(params_m, abs=1e-4)
        macs = sum(by_unit[: len(units)]) + head_macs
        assert macs / 1e9 == pytest.approx(macs_g, abs=1e-4)
    assert (params, macs) == (result.params, result.macs)


@pytest.mark.slow
def test_volumes_cut_at_block3() -> None:
    model = create_model("resnext3d_101", "ttl", "block3", image_size=(24, 192, 192), weights=None)
    result = complexity(model, (3, 24, 192, 192))
    assert result.params / 1e6 == pytest.approx(31.2089, abs=1e-4)
    assert result.macs / 1e9 == pytest.approx(40.9746, abs=1e-4)
    assert result.macs_by_unit["stem"] / result.macs == pytest.approx(0.36, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy", "cutoff"),
    [
        ("resnet18", "ftl", None),
        ("densenet121", "lwft", "block3.2"),
        ("densenet121", "tf", "block2"),
        ("vgg11_bn", "ttl", "block4"),
        ("regnety_002", "ffe", None),
        ("convnext_atto", "tf", "block2.2"),
        ("resnet3d_18a", "ttl", "block2.1"),
        ("densenet3d_121", "tf", "block3"),
    ],
)
def test_units_and_the_head_are_all_that_costs(
    name: str, strategy: str, cutoff: str | None
) -> None:
    model = create_model(name, strategy, cutoff, image_size=64, weights=None)
    result = complexity(model, model.backbone.input_shape(64))
    assert tuple(result.macs_by_unit) == (*model.backbone.cutoffs, "head")
    assert sum(result.macs_by_unit.values()) == result.macs
    assert all(result.macs_by_unit.values())


def test_macs_of_units_by_hand() -> None:
    by_unit = complexity(
        model_of("resnet18", "ttl", "block1.1", pooling=True), (3, 64, 64)
    ).macs_by_unit
    stem = 64 * 32 * 32 * (3 * 7 * 7 + 2 + 1 + 1)  # convolution, norm, ReLU, pooling
    block = 2 * 64 * 16 * 16 * (64 * 3 * 3 + 2 + 1)
    assert by_unit == {"stem": stem, "block1.1": block, "head": 64 * 16 * 16 + 2 * 64}


def test_the_gates_of_penet_pool_apart_from_the_head() -> None:
    model = create_model("penet", "ttl", "block1.1", image_size=32, weights=None)
    by_op = complexity(model, (3, 32, 32, 32)).macs_by_op
    positions = 16 * 8 * 8
    assert by_op["mean"] == by_op["adaptive_avg_pool3d"] == 256 * positions


class Small(nn.Module):
    """One of everything that is counted, with sizes that a reader can multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(self.conv(x)).relu())
        x = nn.functional.silu(x)
        return self.fc(x.flatten(2).mean(2))


def test_each_operator_by_hand() -> None:
    macs = complexity(Small(), (3, 8, 8))
    counted = {op: n for op, n in macs.macs_by_op.items() if n}
    assert counted == {
        "conv": 4 * 8 * 8 * 3 * 3 * 3,
        "batch_norm": 2 * 4 * 8 * 8,
        "relu": 4 * 8 * 8,
        "max_pool2d": 4 * 8 * 8,
        "mean": 4 * 4 * 4,
        "linear": 4 * 5,
    }
    assert macs.unsupported_ops == {"aten::silu": 1}


class Small3D(nn.Module):
    """What volumes' networks have besides: other norms, leaky ReLUs, adaptive pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1, groups=1, bias=False)
        self.norms = nn.Sequential(
            nn.GroupNorm(2, 4), nn.BatchNorm3d(4), nn.InstanceNorm3d(4), nn.LayerNorm((2, 4, 4))
        )
        self.without_weights = nn.GroupNorm(2, 4, affine=False)
        self.act = nn.Sequential(nn.LeakyReLU(), nn.LeakyReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.without_weights(self.norms(self.conv(x)))
        return self.pool(self.act(x))


def test_each_operator_of_volumes_by_hand() -> None:
    macs = complexity(Small3D(), (3, 2, 4, 4))
    elements = 4 * 2 * 4 * 4
    assert {op: n for op, n in macs.macs_by_op.items() if n} == {
        "conv": elements * 3 * 3**3,
        "group_norm": (2 + 1) * elements,
        "batch_norm": 2 * elements,
        "instance_norm": elements,
        "layer_norm": 2 * elements,
        "leaky_relu": elements,
        "leaky_relu_": elements,
        "adaptive_avg_pool3d": elements,
    }
    assert macs.unsupported_ops == {}


def test_squeeze_excitation_means_are_left_out() -> None:
    """A mean over two dimensions is inside a block, the head's is over flattened positions."""

    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * x.mean((2, 3), keepdim=True)

    macs = complexity(Squeeze(), (3, 8, 8))
    assert macs.macs_by_op.get("mean", 0) == 0


def test_parameters_by_hand_and_those_that_train() -> None:
    model = Small()
    everything = 4 * 3 * 9 + 2 * 4 + 4 * 5 + 5
    assert count_parameters(model) == (everything, everything)
    model.conv.requires_grad_(requires_grad=False)
    assert count_parameters(model) == (everything, everything - 4 * 3 * 9)


def test_counting_holds_no_gradients() -> None:
    """A volume's maps would take gigabytes."""
    seen = []

    class Watching(Small):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.is_grad_enabled())
            return super().forward(x)

    complexity(Watching(), (3, 8, 8))
    assert seen == [False]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_model_as_it_was(training: bool) -> None:
    model = create_model("test_resnet", "lwft", "block2", image_size=32, weights=None).train(
        training
    )
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    complexity(model, (3, 32, 32))
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_plain_values_for_the_result() -> None:
    values = complexity(Small(), (3, 8, 8)).to_dict()
    assert values["input_size"] == (3, 8, 8)
    assert values["macs"] == sum(values["macs_by_op"].values())
    assert values["macs_by_unit"] == {}


def test_timms_own_network_costs_the_same() -> None:
    """All units and a new head are the source network: nothing is lost or added on the way."""
    net = timm.create_model("regnetx_002", num_classes=2)
    ours = create_model("regnetx_002", "ftl", num_classes=2, image_size=64, weights=None)
    assert count_parameters(ours) == count_parameters(net)
    theirs, mine = complexity(net, (3, 64, 64)).macs_by_op, complexity(ours, (3, 64, 64)).macs_by_op
    assert {op: theirs[op] for op in ("conv", "linear", "batch_norm")} == {
        op: mine[op] for op in ("conv", "linear", "batch_norm")
    }
