from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.models.nets.penet import PENet, PENetBottleneck

BLOCKS = (3, 4, 6, 3)
Shapes = dict[str, tuple[int, ...]]


def norm(path: str, width: int) -> Shapes:
    return {f"{path}.weight": (width,), f"{path}.bias": (width,)}


def published(stem: int = 64, blocks: tuple[int, ...] = BLOCKS) -> Shapes:
    """Names and shapes of the tensors of the published checkpoint, by rule."""
    shapes = {"in_conv.0.weight": (stem, 3, 7, 7, 7), **norm("in_conv.1", stem)}
    width = stem
    for i, count in enumerate(blocks):
        mid, out = 128 * 2**i, 256 * 2**i
        for j in range(count):
            at = f"encoders.{i}.xnet_blocks.{j}"
            if j == 0:
                shapes[f"{at}.down_sample.0.weight"] = (out, width, 1, 1, 1)
                shapes |= norm(f"{at}.down_sample.1", out)
            shapes |= {
                f"{at}.conv1.weight": (mid, width, 1, 1, 1),
                **norm(f"{at}.norm1", mid),
                f"{at}.conv2.weight": (mid, mid // 32, 3, 3, 3),
                **norm(f"{at}.norm2", mid),
                f"{at}.conv3.weight": (out, mid, 1, 1, 1),
                **norm(f"{at}.norm3", out),
                f"{at}.se_block.excite.0.weight": (out // 16, out),
                f"{at}.se_block.excite.0.bias": (out // 16,),
                f"{at}.se_block.excite.2.weight": (out, out // 16),
                f"{at}.se_block.excite.2.bias": (out,),
            }
            width = out
    return {**shapes, "classifier.fc.weight": (1, width), "classifier.fc.bias": (1,)}


def checkpoint(path: Path, shapes: Shapes) -> dict[str, Tensor]:
    """Save tensors that differ from each other as PENet's code saves; each is one number."""
    tensors = {
        key: torch.full((1,), 0.5 + k / len(shapes)).expand(shape)
        for k, (key, shape) in enumerate(shapes.items())
    }
    content = {
        "ckpt_info": {"epoch": 1},
        "model_name": "PENetClassifier",
        "model_args": {"model_depth": 50, "num_classes": 1},
        "model_state": {f"module.{key}": value for key, value in tensors.items()},
        "optimizer": {"state": {}},
    }
    torch.save(content, path)
    return tensors


def test_names_and_shapes_are_those_published() -> None:
    with torch.device("meta"):
        net = PENet()
    ours = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    renamed = {key.replace("xnet", "penet"): shape for key, shape in published().items()}
    assert ours == renamed
    assert len(ours) == 225


def test_the_papers_candidates_and_parameters() -> None:
    with torch.device("meta"):
        backbone, net = create_backbone("penet", weights=None), PENet()
    assert len(backbone.cutoffs) == 17
    # measured for the published network with a head of one class
    expected = {
        "stem": 0.0660,
        "block1": 0.3251,
        "block2": 1.8031,
        "block3": 10.5039,
        "block4": 28.3987,
    }
    heads = {"stem": 65, "block1": 257, "block2": 513, "block3": 1025, "block4": 2049}
    for cutoff, millions in expected.items():
        count = sum(p.numel() for p in backbone.truncated(cutoff).parameters()) + heads[cutoff]
        assert count / 1e6 == pytest.approx(millions, abs=6e-5)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(28.3987, abs=6e-5)


def test_the_published_checkpoint_fills_every_tensor(tmp_path: Path) -> None:
    path = tmp_path / "penet_best.pth.tar"
    tensors = checkpoint(path, published())
    backbone = create_backbone("penet", path)
    state = backbone.state_dict()
    assert len(state) == 223
    for key, value in state.items():
        assert torch.equal(value, tensors[key.replace("penet_blocks", "xnet_blocks")]), key
    report = backbone.weights_report
    assert report is not None
    assert (report.matched, report.total) == (223, 223)
    assert backbone.mean == (0.15897,) * 3
    assert backbone.std == (1.0,) * 3


WRONG = {
    "a stem of 128 channels": (published(stem=128), "5 of another shape (in_conv.0.weight"),
    "other depth": (
        published(blocks=(3, 4, 23, 3)),
        "unknown (encoders.2.penet_blocks.6.conv1.weight",
    ),
    "fewer blocks": (published(blocks=(3, 4, 6)), "missing (encoders.3.penet_blocks.0."),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_checkpoint_that_does_not_fit_lists_what_differs(kind: str, tmp_path: Path) -> None:
    shapes, problem = WRONG[kind]
    path = tmp_path / "penet.pth"
    checkpoint(path, shapes)
    with pytest.raises(WeightsError) as caught, torch.device("meta"):
        create_backbone("penet", path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"weights {path} fit only ")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "penet.pth"
    checkpoint(path, published())
    path.write_bytes(path.read_bytes()[:-500])
    text = r"penet\.pth cannot be read as plain tensors: "
    with pytest.raises(WeightsError, match=text), torch.device("meta"):
        create_backbone("penet", path)


def test_it_starts_as_published() -> None:
    net = PENet()
    blocks = [module for module in net.modules() if isinstance(module, PENetBottleneck)]
    assert all(block.norm3.weight.eq(0).all() for block in blocks)
    assert all(block.norm1.weight.eq(1).all() for block in blocks)
    bias = net.state_dict()["classifier.fc.bias"]
    assert float(bias) == pytest.approx(-4.595, abs=1e-3)
    assert float(bias.sigmoid()) == pytest.approx(0.01)
    survival = [1 - block.drop_path.drop_prob for block in blocks]
    assert survival == pytest.approx([1 - k / 32 for k in range(16)])
    assert survival[-1] == pytest.approx(0.53, abs=2e-3)
    stem = net.state_dict()["in_conv.0.weight"]
    assert float(stem.std()) == pytest.approx(math.sqrt(2 / (3 * 343)), rel=0.05)


def group_norm(x: Tensor) -> Tensor:
    """Of norms that have scale 1 and shift 0, in groups of 16 channels."""
    groups = x.reshape(len(x), -1, 16, *x.shape[2:])
    dims = (2, 3, 4, 5)
    spread = groups.var(dims, unbiased=False, keepdim=True)
    return ((groups - groups.mean(dims, keepdim=True)) / (spread + 1e-5).sqrt()).reshape_as(x)


def test_a_bottleneck_against_its_definition() -> None:
    block = PENetBottleneck(64, 64, stride=2, survival=0.5).eval()
    x = torch.randn(2, 64, 5, 6, 7)
    s = block.state_dict()
    with torch.no_grad():
        out = F.leaky_relu(group_norm(F.conv3d(x, s["conv1.weight"])), 0.01)
        filters = s["conv2.weight"]
        out = torch.cat(
            [
                F.conv3d(out[:, k : k + 2], filters[k : k + 2], stride=2, padding=1)
                for k in range(0, 64, 2)
            ],
            1,
        )
        out = F.conv3d(F.leaky_relu(group_norm(out), 0.01), s["conv3.weight"])
        out = group_norm(out)
        means = out.mean((2, 3, 4))
        first = s["se_block.excite.0.weight"], s["se_block.excite.0.bias"]
        second = s["se_block.excite.2.weight"], s["se_block.excite.2.bias"]
        gate = (F.leaky_relu(means @ first[0].T + first[1]) @ second[0].T + second[1]).sigmoid()
        out = out * gate[:, :, None, None, None]
        shortcut = group_norm(F.conv3d(x, s["down_sample.0.weight"], stride=2))
        expected = F.leaky_relu(out + shortcut, 0.01)
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_a_branch_is_dropped_for_some_volumes_and_scaled_for_the_rest() -> None:
    block = PENetBottleneck(128, 64, stride=1, survival=0.5).train()
    x = torch.rand(1, 128, 2, 3, 3).expand(32, -1, -1, -1, -1)
    with torch.no_grad():
        trained, evaluated = block(x), block.eval()(x)
    dropped = [torch.equal(out, given) for out, given in zip(trained, x, strict=True)]
    assert 4 < sum(dropped) < 28
    branch = torch.where(evaluated > 0, evaluated, evaluated / 0.01) - x
    doubled = F.leaky_relu(x + 2 * branch, 0.01)[0]
    kept = trained[dropped.index(False)]
    torch.testing.assert_close(kept, doubled, rtol=1e-3, atol=1e-4)


def test_logits_are_the_heads_of_the_mean_of_the_map() -> None:
    net = PENet(in_channels=1).eval()
    x = torch.rand(2, 1, 8, 32, 32)
    with torch.no_grad():
        features = net.max_pool(net.in_conv(x))
        for encoder in net.encoders:
            features = encoder(features)
        state = net.state_dict()
        expected = features.mean((2, 3, 4)) @ state["classifier.fc.weight"].T
        torch.testing.assert_close(net(x), expected + state["classifier.fc.bias"])
