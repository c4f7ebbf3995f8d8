"""What every strategy promises, for every family, at a block and at a unit inside one."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial

import pytest
import timm
import torch
from timm.models.densenet import DenseNet
from timm.models.regnet import RegNet, RegNetCfg
from timm.models.vgg import VGG
from torch import Tensor, nn

from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.splitting import split_network
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.models.strategies.base import Head, TransferModel

SIZE, CLASSES, LR = 32, 3, 0.002

# a small network of each family: how to build it, a block, a unit inside a block
NETWORKS: dict[str, tuple[Callable[..., nn.Module], str, str]] = {
    "resnet": (partial(timm.create_model, "test_resnet"), "block2", "stem"),
    "bottleneck": (
        partial(timm.create_model, "seresnet50", layers=(1, 2, 2, 1), channels=(16, 32, 32, 48)),
        "block1",
        "block3.1",
    ),
    "densenet": (
        partial(DenseNet, growth_rate=8, block_config=(2, 3, 2)),
        "block1",
        "block2.2",
    ),
    "efficientnet": (partial(timm.create_model, "test_efficientnet"), "block3", "block4.1"),
    "mobilenetv3": (partial(timm.create_model, "mobilenetv3_small_050"), "block3", "block5.1"),
    "vgg": (
        partial(VGG, [16, "M", 32, "M", 32, 32, "M"], norm_layer=nn.BatchNorm2d),
        "block1",
        "block3.1",
    ),
    "convnext": (partial(timm.create_model, "test_convnext"), "block2", "block3.1"),
    "regnet": (
        partial(RegNet, RegNetCfg(w0=16, wa=12.0, wm=2.0, group_size=8, depth=8, se_ratio=0.25)),
        "block2",
        "block3.2",
    ),
}


@dataclass(eq=False)
class Case:
    network: str
    strategy: str
    cutoff: str | None
    source: Backbone = field(init=False, repr=False)
    kept: set[str] = field(init=False, repr=False)  # keys of the units up to the cutoff
    model: TransferModel = field(init=False, repr=False)
    before: dict[str, Tensor] = field(init=False, repr=False)
    after: dict[str, Tensor] = field(init=False, repr=False)
    gradients: dict[str, Tensor | None] = field(init=False, repr=False)
    losses: list[float] = field(init=False, repr=False)

    @property
    def unit(self) -> str:
        return self.source.resolve(self.cutoff or "full")

    def new(self) -> TransferModel:
        plan, source = STRATEGIES[self.strategy], _backbone(self.network, 3)
        torch.manual_seed(7)
        split = plan.split(source, self.unit)
        head = Head(split.output_shape((SIZE, SIZE)), CLASSES, pooling=True)
        return TransferModel(split, head, plan, self.unit)


@cache
def _backbone(network: str, in_channels: int) -> Backbone:
    torch.manual_seed(1)
    build, *_ = NETWORKS[network]
    net = build(in_chans=in_channels)
    net.pre_logits = nn.Identity()  # VGG's, millions of weights that no test reads
    for module in net.modules():  # as if trained: nothing is where it starts
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(9)
        elif isinstance(module, nn.Conv2d | nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.1, 0.1)
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)
    return Backbone(
        network, net, split_network("net", net, None).units, in_channels, (0.5,), (0.2,)
    )


@cache
def _pristine(network: str) -> dict[str, Tensor]:
    return snapshot(_backbone(network, 3))


def _cases() -> Iterator[Case]:
    for network, (_, block, unit) in NETWORKS.items():
        for strategy, plan in STRATEGIES.items():
            for cutoff in (block, unit) if plan.needs_cutoff else (None,):
                yield Case(network, strategy, cutoff)


def images(n: int, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(n))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.fixture(
    scope="module", params=_cases(), ids=lambda c: f"{c.network}-{c.strategy}-{c.cutoff}"
)
def case(request: pytest.FixtureRequest) -> Case:
    """A model as it was made, and what three steps of training do to it."""
    case: Case = request.param
    case = Case(case.network, case.strategy, case.cutoff)
    case.source = _backbone(case.network, 3)
    _pristine(case.network)
    case.kept = set(case.source.truncated(case.unit).state_dict())
    case.model = case.new()
    case.before = snapshot(case.model)
    model, x, y = copy.deepcopy(case.model), images(6), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.SGD(model.param_groups(LR))
    case.losses, case.gradients = [], {}
    for _ in range(3):
        model.train().train()
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        case.losses.append(loss.item())
        case.gradients = case.gradients or {k: p.grad for k, p in model.named_parameters()}
        optimizer.step()
        model.eval()
        with torch.no_grad():
            model(x)
    case.after = snapshot(model)
    return case


def trains(case: Case, key: str) -> bool:
    """By the table of the design: which of the model's tensors a strategy trains."""
    if key.startswith("head."):
        return True
    if case.strategy == "ffe":
        return False
    return case.strategy != "lwft" or key.removeprefix("backbone.") not in case.kept


# --- what is in it --------------------------------------------------------------------------------


def test_units(case: Case) -> None:
    expected = case.source.cutoffs
    if case.strategy == "ttl":
        expected = expected[: case.source.index(case.unit)]
    assert case.model.backbone.cutoffs == expected
    assert case.model.cutoff == case.unit
    assert case.model.strategy is STRATEGIES[case.strategy]


def test_keys_are_the_sources_own(case: Case) -> None:
    keys = list(case.model.backbone.state_dict())
    theirs = list(case.source.state_dict())
    assert keys == (theirs[: len(keys)] if case.strategy == "ttl" else theirs)
    if case.strategy == "ttl":
        assert set(keys) == case.kept


def test_what_is_kept_is_the_sources_by_key_and_value(case: Case) -> None:
    theirs, ours = case.source.state_dict(), case.model.backbone.state_dict()
    for key in case.kept if case.strategy == "tf" else ours:
        assert torch.equal(ours[key], theirs[key]), key


def test_what_transfusion_draws_is_new(case: Case) -> None:
    if case.strategy != "tf":
        pytest.skip("only TransFusion draws")
    theirs, ours = case.source.state_dict(), case.model.backbone.state_dict()
    norms = {
        f"{name}."
        for name, module in case.model.backbone.net.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm)
    }
    start = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
    later = [key for key in ours if key not in case.kept]
    assert later
    for key in later:
        module, _, tensor = key.rpartition(".")
        if f"{module}." in norms:
            assert (ours[key] == start[tensor]).all(), key
        elif tensor == "bias":
            assert not ours[key].any(), key
        elif tensor == "weight":
            assert ours[key].shape != theirs[key].shape or not torch.equal(ours[key], theirs[key])
            assert ours[key].std() > 0, key


def test_the_source_is_not_changed(case: Case) -> None:
    fresh = _pristine(case.network)
    assert all(torch.equal(value, fresh[key]) for key, value in case.source.state_dict().items())
    assert all(p.requires_grad for p in case.source.parameters())
    ours = {p.data_ptr() for p in case.model.parameters()}
    assert not ours & {p.data_ptr() for p in case.source.parameters()}


def test_the_parameters_that_train(case: Case) -> None:
    for key, parameter in case.model.named_parameters():
        source_key = key.replace("backbone.net.", "backbone.")
        assert parameter.requires_grad == trains(case, source_key), key


def test_param_groups(case: Case) -> None:
    groups = case.model.param_groups(LR)
    given = [p for group in groups for p in group["params"]]
    assert len({id(p) for p in given}) == len(given)
    assert {id(p) for p in given} == {id(p) for p in case.model.parameters() if p.requires_grad}
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates["head"] == LR
    assert set(rates) == ({"head"} if case.strategy == "ffe" else {"head", "backbone"})
    if case.strategy != "ffe":
        assert rates["backbone"] == pytest.approx(LR / 10 if case.strategy == "lwft" else LR)


# --- training -------------------------------------------------------------------------------------


def test_frozen_tensors_stay_bit_equal(case: Case) -> None:
    held = [key for key in case.before if not trains(case, key)]
    assert bool(held) == (case.strategy in ("ffe", "lwft"))
    for key in held:
        assert torch.equal(case.before[key], case.after[key]), key


def test_gradients_reach_what_trains_and_nothing_else(case: Case) -> None:
    for key, gradient in case.gradients.items():
        if trains(case, key.replace("backbone.net.", "backbone.")):
            assert gradient is not None, key
            assert torch.isfinite(gradient).all(), key
            assert gradient.abs().sum() > 0, key
        else:
            assert gradient is None, key


def test_trained_parameters_move(case: Case) -> None:
    if (case.network, case.strategy) == ("convnext", "tf"):
        pytest.skip("a new ConvNeXt's branches start at a millionth")
    moved = {k for k in case.before if not torch.equal(case.before[k], case.after[k])}
    weights = {
        key.replace("backbone.net.", "backbone.")
        for key, p in case.model.named_parameters()
        if p.requires_grad and p.ndim > 1
    }
    assert weights <= moved


def test_statistics_of_what_trains_move(case: Case) -> None:
    counters = [key for key in case.before if key.endswith("num_batches_tracked")]
    for key in counters:
        steps = case.after[key] - case.before[key]
        assert steps == (3 if trains(case, key) else 0), key


def test_the_loss_falls(case: Case) -> None:
    assert all(torch.tensor(case.losses).isfinite())
    if case.strategy == "ftl":
        assert case.losses[-1] < case.losses[0]


def test_modes_under_repeated_calls(case: Case) -> None:
    model = copy.deepcopy(case.model)
    for mode in (True, True, False, True):
        model.train(mode)
        for name, module in model.backbone.net.named_modules():
            if any(True for _ in module.children()) or not module.state_dict():
                continue
            key = f"backbone.{name}.{next(iter(module.state_dict()))}"
            assert module.training == (mode and trains(case, key)), name


# --- use ------------------------------------------------------------------------------------------


def test_a_batch_of_one_and_the_same_image_in_a_batch(case: Case) -> None:
    case.model.eval()
    x = images(4)
    with torch.no_grad():
        one, all_of_them = case.model(x[:1]), case.model(x)
    assert one.shape == (1, CLASSES)
    assert torch.isfinite(one).all()
    torch.testing.assert_close(one, all_of_them[:1], rtol=1e-3, atol=1e-4)


def test_features_end_with_the_map_that_the_head_gets(case: Case) -> None:
    case.model.eval()
    x = images(2)
    with torch.no_grad():
        *_, (name, feature) = case.model.backbone.features(x)
        mean = torch.einsum("nchw->nc", feature) / feature[0, 0].numel()
        logits = mean @ case.model.head.fc.weight.T + case.model.head.fc.bias
        torch.testing.assert_close(case.model(x), logits, rtol=1e-4, atol=1e-5)
    assert name == case.model.backbone.cutoffs[-1]
    assert tuple(feature.shape[1:]) == case.model.backbone.output_shape((SIZE, SIZE))


def test_a_flattened_head(case: Case) -> None:
    backbone = case.model.backbone.eval()
    head = Head(backbone.output_shape((SIZE, SIZE)), CLASSES, pooling=False)
    model = TransferModel(backbone, head, case.model.strategy, case.unit)
    x = images(2)
    with torch.no_grad():
        feature = backbone(x)
        expected = feature.reshape(2, -1) @ head.fc.weight.T + head.fc.bias
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert head.fc.in_features == feature[0].numel()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_one_channel(network: str, strategy: str) -> None:
    source = _backbone(network, 1)
    at = NETWORKS[network][1] if STRATEGIES[strategy].needs_cutoff else "full"
    split = STRATEGIES[strategy].split(source, source.resolve(at))
    width = split.output_shape((SIZE, SIZE))[0]
    assert split(images(2, channels=1)).shape[:2] == (2, width)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_seed_draws_the_same_weights(network: str) -> None:
    source = _backbone(network, 3)
    drawn = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        split = STRATEGIES["tf"].split(source, source.resolve(NETWORKS[network][1]))
        drawn.append(split.state_dict())
    assert all(torch.equal(value, drawn[1][key]) for key, value in drawn[0].items())
    assert not all(torch.equal(value, drawn[2][key]) for key, value in drawn[0].items())


def test_saved_and_loaded(case: Case) -> None:
    buffer = io.BytesIO()
    torch.save(case.after, buffer)
    buffer.seek(0)
    model = copy.deepcopy(case.model)
    model.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(value, case.after[k]) for k, value in model.state_dict().items())


def test_a_deep_copy(case: Case) -> None:
    twin = copy.deepcopy(case.model).eval()
    x = images(1)
    with torch.no_grad():
        assert torch.equal(twin(x), case.model.eval()(x))
        twin.head.fc.weight.zero_()
    assert case.model.head.fc.weight.any()
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in case.model.parameters()
    ]


def test_the_backbone_loads_into_the_source_network(case: Case) -> None:
    if case.strategy == "tf":
        pytest.skip("half widths fit no source")
    target = copy.deepcopy(case.source)
    missing, unexpected = target.load_state_dict(
        {k.removeprefix("backbone."): v for k, v in case.after.items() if k[:5] == "backb"},
        strict=False,
    )
    assert not unexpected
    assert bool(missing) == (case.strategy == "ttl" and case.unit != case.source.cutoffs[-1])
