"""What `data` means: which choice reads what the others name, and what is made of it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ttl_lightning.data.readers.npz_members import shape_of, source_of
from ttl_lightning.data.sources.registry import Made, made, source
from ttl_lightning.errors import TTLError

# What may choose `data`; the default draws its own images.
CHOOSING = ("data", "experiment")
# Keys that say what there is to read.
NAMING = ("data.path", "data.dataset")


def made_of(data: Mapping[str, Any], seed: int) -> Made | None:
    """The source that the options of `data` name, with how it is seen and loaded, all checked.

    None where it is not the package's own: then only what it names can tell.

    Raises:
        TTLError: naming the key that is unknown or out of range, or the data's place.
    """
    kind = source(data["_target_"])
    options = {key: value for key, value in data.items() if key != "_target_"}
    return None if kind is None else made(kind, options, seed)


class Sourced(NamedTuple):
    """Overrides, and what is to be said of them, if anything."""

    overrides: list[str]
    note: str | None


def sourced(overrides: Sequence[str], compose: Callable[[list[str]], DictConfig]) -> Sourced:
    """The overrides, with `data=npz3d` for `data=npz` and a file of volumes, and so of MedMNIST.

    The two have other options and defaults, so this comes before the configuration: it, and all
    that is made of it, are then those of `data=npz3d`. Only a file's header is read.

    Args:
        overrides: as they were given. Where several values are given for the data, and where
            something is wrong, they stay: it is found where they are composed.
        compose: makes a configuration of overrides, with Hydra's node.
    """
    given = list(overrides)
    if not any(_key(override) in CHOOSING for override in given):
        return Sourced(given, None)
    # not the other options, which the source that is chosen so far may not have
    asked = [override for override in given if _key(override) in (*CHOOSING, *NAMING)]
    try:
        cfg = compose(asked)
        choice = str(cfg.hydra.runtime.choices.get("data"))
        found = _of_volumes(choice, cfg.data)
    except (
        HydraException,
        OmegaConfBaseException,
        TTLError,
        AttributeError,
        ValueError,
        TypeError,
    ):
        found = None
    if found is None:
        return Sourced(given, None)
    other, what = found
    changed = [f"data={other}" if _key(override) == "data" else override for override in given]
    if changed == given:  # an experiment's choice
        changed.append(f"data={other}")
    return Sourced(changed, f"data={choice}: {what} holds volumes, read as data={other}.")


def _of_volumes(choice: str, options: DictConfig) -> tuple[str, str] | None:
    """The choice that reads what this one cannot, and what that is."""
    if choice == "npz" and isinstance(path := options.path, str):
        shape = shape_of(Path(path).expanduser(), "train_images")
        if shape is not None and (other := source_of(shape)) != choice and other is not None:
            return other, path
    # asking its package would import torch; all its names of volumes end so
    if choice == "medmnist" and str(options.dataset).endswith("3d"):
        return "medmnist3d", str(options.dataset)
    return None


def _key(override: str) -> str:
    """What an override gives a value to; empty for flags and deletions."""
    key, equals, _ = override.partition("=")
    return key.lstrip("+") if equals and not key.startswith(("-", "~")) else ""
