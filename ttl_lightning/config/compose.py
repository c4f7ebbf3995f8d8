"""The configuration, composed from `conf/`, with errors of one line. Imports no torch."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ttl_lightning.config import ranks
from ttl_lightning.config.border import check_values, spec_of
from ttl_lightning.config.mistakes import SEVERAL, keys, wrong_choice, wrong_key
from ttl_lightning.config.schema import RunSpec
from ttl_lightning.errors import ConfigError, TTLError
from ttl_lightning.models.backbones.named import remember

log = logging.getLogger(__name__)

MODULE, ROOT = "ttl_lightning.conf", "config"
VERSION_BASE = "1.3"
# What a timm name looks like, with or without a tag.
NETWORK = re.compile(r"[A-Za-z][\w.]*")

# A run's place in a sweep's folder: the default of oc.select is for a missing key, not for null.
OmegaConf.register_new_resolver(
    "ttl.place", lambda cutoff: "full" if cutoff is None else cutoff, replace=True
)


def wanted_devices(accelerator: str, devices: int | str | Sequence[int]) -> int | None:
    """How many devices a run's `trainer` asks for; None: all there are.

    >>> wanted_devices("gpu", "2"), wanted_devices("gpu", [0, 1]), wanted_devices("gpu", "0,1")
    (2, 2, 2)
    >>> wanted_devices("auto", "auto"), wanted_devices("gpu", -1), wanted_devices("cpu", "auto")
    (None, None, 1)
    """
    if devices in ("auto", "-1", -1):
        return 1 if accelerator == "cpu" else None
    if isinstance(devices, int):
        return devices
    if isinstance(devices, str) and devices.isdigit():
        return int(devices)
    parts = devices.split(",") if isinstance(devices, str) else devices
    return len([part for part in parts if str(part).strip()])


def slurm_tasks(devices: int | str | Sequence[int]) -> int:
    """Tasks a node for `trainer.devices`; one, which starts its ranks itself, if that is no number.

    >>> slurm_tasks(4), slurm_tasks("2"), slurm_tasks([0, 1]), slurm_tasks("auto"), slurm_tasks(-1)
    (4, 2, 2, 1, 1)
    """
    return wanted_devices("gpu", devices) or 1


OmegaConf.register_new_resolver("ttl.tasks", slurm_tasks, replace=True)


def read(overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Compose one run's configuration outside of Hydra's own command line.

    Returns:
        The configuration, and the folder that the run goes to.

    Raises:
        ConfigError: if an override is malformed or names what there is not.
    """
    overrides = sourced(named(overrides))
    for override in parsed(overrides):
        several = isinstance(override.value(), list) and override.key_or_group not in SEVERAL
        if several and not override.is_sweep_override() and choices(override.key_or_group):
            raise ConfigError(f"{override.input_line}: {override.key_or_group} takes one choice.")
    cfg = composed(overrides)
    try:
        folder = Path(cfg.hydra.run.dir)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise in_one_line(error, overrides) from error
    check_place(cfg)
    OmegaConf.set_struct(cfg, False)  # noqa: FBT003 - OmegaConf's own signature
    del cfg["hydra"]
    OmegaConf.set_struct(cfg, True)  # noqa: FBT003
    check_values(values_of(cfg))
    return cfg, folder


def composed(overrides: Sequence[str]) -> DictConfig:
    """What Hydra makes of overrides, its own node included; nothing is checked.

    Raises:
        ConfigError: if an override is malformed or names what there is not.
    """
    setup_globals()  # the resolver of ${now:…}
    with _own_hydra():
        try:
            return compose(ROOT, list(overrides), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
            raise in_one_line(error, overrides) from error


def check_place(composed: DictConfig) -> None:
    """Demand that a run stays in the folder where the command was given.

    Raises:
        ConfigError: if Hydra is to change to the run's own.
    """
    if composed.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true is not for these runs: relative paths begin where the command "
            "was given, and the folder of a run that never began is removed."
        )


def sourced(overrides: Sequence[str]) -> list[str]:
    """The overrides with the choice of `data` that reads what they name, which is then said."""
    accept_backbones(overrides)
    with _own_hydra():
        found, note = ranks.sourced(
            overrides, lambda asked: compose(ROOT, asked, return_hydra_config=True)
        )
    if note:
        log.warning("note: %s", note)
    return found


def values_of(cfg: DictConfig) -> dict[str, Any]:
    """The whole configuration as plain values, each interpolation resolved.

    Raises:
        ConfigError: naming the key that cannot be resolved, or has no value.
    """
    try:
        found = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        key = getattr(error, "full_key", None)
        where = f"{key}: " if key else ""
        raise ConfigError(f"{where}{first_line(error)}") from error
    return cast("dict[str, Any]", found)


def typed(cfg: DictConfig) -> RunSpec:
    """A composed configuration, without Hydra's node, as what is below reads it.

    Raises:
        ConfigError: naming the first key that is not as it should be.
    """
    return spec_of(values_of(cfg))


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """Compose apart from a Hydra that may be running already."""
    outer = copy.copy(Singleton.get_state())
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(MODULE, version_base=VERSION_BASE):
            yield
    finally:
        Singleton.set_state(outer)


def named(arguments: Sequence[str]) -> list[str]:
    """Arguments with `backbone=mypackage.net` for `backbone._target_=mypackage.net`."""
    return [re.sub(r"^\+*backbone\._target_=", "backbone=", argument) for argument in arguments]


def accept_backbones(overrides: Sequence[str]) -> None:
    """Let `backbone=NAME` stand for any network; only some have a file in `conf/backbone`.

    A full name such as `mypackage.net` is that of a user's network, which has no ImageNet weights.
    """
    stored = ConfigStore.instance()
    here = set(choices("backbone"))
    for override in overrides:
        key, _, value = override.partition("=")
        for name in value.split(",") if key == "backbone" else ():
            if NETWORK.fullmatch(name) and name not in here:
                package, dot, _ = name.partition(".")
                own = dot and importlib.util.find_spec(package) is not None
                if own:
                    remember(name)
                weights = None if own else "imagenet"
                stored.store(name, {"name": name, "weights": weights}, group="backbone")


def without_sweeps(overrides: Sequence[str]) -> list[str]:
    """The overrides that give one value; those that list several are another's to check."""
    single = (o for o in parsed(overrides) if not o.is_sweep_override())
    return [o.input_line for o in single if o.input_line]


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra understands them.

    Raises:
        ConfigError: if one is malformed.
    """
    parser = OverridesParser.create()
    found = []
    for override in overrides:
        try:
            found += parser.parse_overrides([override])
        except HydraException as error:
            key, equals, value = override.partition("=")
            strange = equals and any(sign in value for sign in " ()[]{},:;'\"&$")
            hint = (
                f" A value with blanks, brackets or commas is quoted for Hydra and for the shell: "
                f"{key}=\"'…'\"."
            )
            raise ConfigError(
                f"cannot read an override: {first_line(error)}.{hint if strange else ''}"
            ) from error
    return found


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a key may hold
    """A key's value, with OmegaConf's lists and dicts as Python's own."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def choices(group: str) -> list[str]:
    """The names that `group=` takes; none if there is no such group."""
    return ConfigLoaderImpl(create_config_search_path(f"pkg://{MODULE}")).get_group_options(group)


def in_one_line(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Make Hydra's error ours: which override is wrong, what is allowed, what comes nearest."""
    try:
        given = parsed(overrides)
    except ConfigError as malformed:
        return malformed
    for override in given:
        if override.is_sweep_override():
            return ConfigError(f"{override.input_line} gives several values: add -m to run each.")
    groups = [o for o in given if o.key_or_group and choices(o.key_or_group)]
    for override in groups:
        if found := wrong_choice(override, choices(override.key_or_group)):
            return found
    try:
        with _own_hydra():
            allowed = list(keys(compose(ROOT, [o.input_line for o in groups if o.input_line])))
    except (HydraException, OmegaConfBaseException, ValueError, TypeError) as found_too:
        return ConfigError(first_line(found_too))
    for override in given:
        if not override.key_or_group:
            return ConfigError(f"cannot read an override: {override.input_line!r} names no key.")
        if override not in groups and (found := wrong_key(override, allowed)):
            return found
    return ConfigError(first_line(error))


def first_line(error: Exception) -> str:
    """What an error says, without the rest of a longer text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def made() -> Iterator[None]:
    """Let what Hydra instantiates say itself what is wrong with its settings.

    Raises:
        TTLError: the object's own, or the first line of Hydra's.
    """
    try:
        yield
    except InstantiationException as error:
        own = error.__cause__ if isinstance(error.__cause__, TTLError) else None
        raise own or ConfigError(first_line(error)) from error


def quoted(text: str) -> str:
    r"""A value for Hydra's grammar, whatever characters a path has.

    >>> print(quoted("it's, here"))
    'it\'s, here'
    """
    return "'" + text.replace("\\'", "\\\\'").replace("'", "\\'") + "'"
