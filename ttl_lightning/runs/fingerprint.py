"""A run's identity, resolved from its configuration: two runs of one identity are the same run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf.errors import OmegaConfBaseException

from ttl_lightning.config import compose as config
from ttl_lightning.config.identity import OF_OUR_SOURCES, digest, kept
from ttl_lightning.config.schema import channels_last
from ttl_lightning.data.content import file_hash
from ttl_lightning.data.sources.registry import first_name
from ttl_lightning.data.sources.registry import source as known_source
from ttl_lightning.errors import TTLError
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.backbones.factory import create_backbone, pixel_statistics
from ttl_lightning.models.backbones.pretrained import find as find_weights
from ttl_lightning.models.strategies import STRATEGIES
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs import stored

# Lightning's short names
PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}

Known = dict[tuple[Any, ...], Any]
"""What was found once of data and weights, for the many jobs of one command."""


def identity(values: Mapping[str, Any], known: Known | None = None) -> dict[str, Any]:
    """The named values that a run's result follows from.

    Networks and cutoffs go by what they resolve to, weights and data by their bytes wherever they
    lie (see each source's `content`), everything else by its value, except `HOW_IT_IS_RUN`.
    Sources that are not the package's own are never imported: their options count as they stand.

    Args:
        values: a run's whole configuration, as `RunSpec.values`.
        known: filled and read, so that a sweep looks at its data and weights once.

    Raises:
        TTLError: if network, cutoff, data or weights are not to be had.
    """
    known = {} if known is None else known
    data, trainer = values["data"], values["trainer"]
    name, weights = values["backbone"]["name"], values["backbone"]["weights"]
    channels, size = data.get("in_channels"), data.get("image_size")  # a folder may hold anything
    unit = resolved_unit(name, channels, values["strategy"]["name"], values["cutoff"])
    mean, std = _once(
        known,
        ("pixels", name, channels, weights),
        lambda: pixel_statistics(name, channels, weights),
    )
    pretrained = None
    if weights is not None:
        pretrained = _once(
            known, ("weights", name, weights), lambda: file_hash(find_weights(name, str(weights)))
        )
    backbone = {key: value for key, value in values["backbone"].items() if key != "weights"}
    precision = str(trainer["precision"])
    return {
        "backbone": kept("backbone", backbone),
        "weights": pretrained,
        "pixels": {"mean": list(mean), "std": list(std)},
        "strategy": kept("strategy", values["strategy"]),
        "unit": unit,
        **_data(data, known),
        "task": kept("task", values["task"]),
        "protocol": kept("protocol", values["protocol"]),
        "trainer": {
            **kept("trainer", trainer),
            "devices": _devices(trainer),
            "precision": PRECISIONS.get(precision, precision),
            "channels_last": channels_last(
                trainer["precision"], size, said=trainer["channels_last"]
            ),
        },
        "seed": values["seed"],
        **_callbacks(values.get("callbacks") or {}),
    }


def resolved_unit(
    backbone: str, in_channels: int, strategy: str, cutoff: str | int | None
) -> str | None:
    """The full name of the unit that a cutoff means; None where there is none to mean.

    Raises:
        TTLError: if there is no such network or unit.
    """
    network = _network(backbone, in_channels)
    if cutoff is None or (strategy in STRATEGIES and not STRATEGIES[strategy].needs_cutoff):
        return None
    return network.resolve(cutoff)


def left_in(
    folder: Path, result: RunResult, known: Known | None = None, *, auto: bool = False
) -> str | None:
    """The fingerprint of the run whose result lies in a folder.

    A result of a version before identities is judged by the folder's own configuration, as data
    (nothing that it names is made or imported), and by what the run wrote down of its network,
    weights and precision. Where that cannot be done, it is no run that is known now.

    Args:
        folder: the run's.
        result: what lies in it.
        known: as in `identity`.
        auto: a run of `trainer.precision=auto` is asked for, which goes on with what was chosen.
    """
    if result.identity or not RunFolder(folder).config.is_file():
        return result.config_sha256
    try:
        values = config.values_of(stored.read(folder))
        return digest(_as_it_was(values, result, known, auto=auto))
    except (AttributeError, KeyError, TypeError, ValueError, OmegaConfBaseException, TTLError):
        return result.config_sha256


def _as_it_was(
    values: Mapping[str, Any], result: RunResult, known: Known | None, *, auto: bool
) -> dict[str, Any]:
    """The identity of a run of a version that did not write it down."""
    trainer, model = values["trainer"], result.model
    choice = {key: result.train[key] for key in ("precision", "channels_last")}
    if auto and trainer.get("precision") == "auto":
        choice = {"precision": "auto", "channels_last": trainer.get("channels_last")}
    own = {
        "trainer": {**trainer, **choice},
        "cutoff": result.cutoff,
        "backbone": {**values["backbone"], "weights": None},
    }
    return {
        **identity({**values, **own}, known),
        "weights": result.weights["sha256"] if result.weights else None,
        "pixels": {"mean": list(model["mean"]), "std": list(model["std"])},
    }


def _callbacks(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those beside a run's own, if any: runs of before there were any are those without."""
    found = {key: options for key, options in given.items() if options is not None}
    return {"callbacks": found} if found else {}


def _data(options: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """`data`: the options that count; `content`: what lies where the others say."""
    source = known_source(options.get("_target_"))
    if source is None:
        return {"data": kept("data", options), "content": {}}
    beside = {key.removeprefix("data.") for key in OF_OUR_SOURCES} | set(source.places)
    counted = {key: value for key, value in options.items() if key not in beside}
    counted["_target_"] = first_name(counted["_target_"])
    content = _once(known, ("data", repr(options)), lambda: source.content(options))
    return {"data": kept("data", counted), "content": content}


def _devices(trainer: Mapping[str, Any]) -> int | str:
    """How many, or "all" there are, which only the machine that runs it knows."""
    try:
        count = config.wanted_devices(trainer["accelerator"], trainer["devices"])
    except TypeError:  # no number and no list: Lightning says so
        return str(trainer["devices"])
    return "all" if count is None else count


@functools.lru_cache(maxsize=16)
def _network(name: str, in_channels: int) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, None, in_channels)


def _once(known: Known, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:  # noqa: ANN401
    if key not in known:
        known[key] = make()
    return known[key]
