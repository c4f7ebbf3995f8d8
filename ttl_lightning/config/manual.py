"""Help of the configuration: every key's value, what it may be, and what it does.

A key's value is what the choices give it; what it may be, `schema` says; what it does, the comment
in `conf/` behind it or on the lines above it, in its own file or in another one of the group.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from ttl_lightning.config.border import GROUPS, KEYS, TOP
from ttl_lightning.config.compose import (
    MODULE,
    ROOT,
    choices,
    composed,
    plain,
    sourced,
    without_sweeps,
)

# What a run reads, and what chooses many of these at once.
EVERYTHING = (*TOP, "experiment", "hydra/launcher", "hydra/sweeper")
WIDTH = 100
# A group's choice stands for what it names.
_HIDDEN = [f"{group}._target_" for group in GROUPS]
_BEHIND = re.compile(r"\s#\s+(.*)")


def usage(keys: Sequence[str], overrides: Sequence[str] = ()) -> str:
    """The choices of groups, and the keys in them.

    Args:
        keys: groups, and keys of the configuration.
        overrides: choices and values that stand in place of the defaults.

    Raises:
        ConfigError: if an override is malformed or names what there is not.
    """
    cfg = composed(sourced(without_sweeps(overrides)))
    offered = {key: names for key in keys if (names := choices(key))}
    lines = ["Choices (backbone takes any timm name of the supported families):", ""]
    for group, names in offered.items():
        lines += _wrapped(f"{group}={' | '.join(names)}", "  ", "      ")
    lines += ["", "Keys with their values, what they do, and what they may be:"]
    lines += [""] if keys[0] not in GROUPS else []
    for key in keys:
        lines += _explained(key, cfg) if key in KEYS else []
    return "\n".join(lines)


def _explained(key: str, cfg: DictConfig) -> list[str]:
    """A group's choice, or a key, with all that is in it."""
    group = key.partition(".")[0]
    choice, said, lines = str(cfg.hydra.runtime.choices.get(group)), comments(_text(ROOT)), []
    if group in GROUPS:
        said = _comments_of(group, choice)
    if key in GROUPS:
        title = [f"{group}={choice}", header(_text(f"{group}/{choice}"))]
        lines = ["", *_wrapped(": ".join(filter(None, title)))]
    for path, value in _leaves(key, plain(OmegaConf.select(cfg, key))):
        shown = yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]
        what = said.get(path) or said.get(path.removesuffix("._target_"), "")
        lines += [f"  {path}={shown}", *_wrapped(described(path, what), "      ", "      ")]
    return lines


def described(key: str, said: str) -> str:
    """What a key does, by its comment, and what it may be, by its rule."""
    known = KEYS.get(key.removesuffix("._target_"))
    return " ".join([said, f"[{known.rule.allowed}]" if known and known.rule else ""]).strip()


def comments(text: str) -> dict[str, str]:
    r"""What the comments of a YAML file say, by the path of the key that each belongs to.

    >>> comments("# the file\nseed: 0 # of all\n# those\nb:\n  c: 1 # this")
    {'seed': 'of all', 'b': 'those', 'b.c': 'this'}
    """
    lines = text.splitlines()
    found = {}
    for path, line in _places(yaml.compose(text, Loader=yaml.SafeLoader)):
        behind = _BEHIND.search(lines[line])
        first = line
        while first and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        above = lines[first:line] if first else []  # those at the top are the file's
        if said := behind[1] if behind else _joined(above):
            found[path] = said
    return found


def header(text: str) -> str:
    """What the comment at the top of a YAML file says of it."""
    lines = text.removeprefix("# @package _global_\n").splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return _joined(lines[:end])


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line.strip(" #") for line in lines)


def _places(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        yield f"{prefix}{key.value}", key.start_mark.line
        yield from _places(value, f"{prefix}{key.value}.")


def _comments_of(group: str, choice: str) -> dict[str, str]:
    """The choice's own before the default's, and those before the others'."""
    found: dict[str, str] = {}
    usual = _defaults(_text(ROOT)).get(group)
    for name in (choice, *([usual] if usual else ()), *choices(group)):
        for key, said in _inherited(group, name).items():
            found.setdefault(f"{group}.{key}", said)
    return found


def _inherited(group: str, name: str) -> dict[str, str]:
    """A file's comments, before those of the files that its defaults name."""
    text = _text(f"{group}/{name}")
    found = comments(text)
    for other in _defaults(text):
        if other != "_self_":
            found = _inherited(group, other.partition("@")[0]) | found
    return found


def _defaults(text: str) -> dict[str, str | None]:
    """What a file's defaults list names: groups with their choices, and files without one."""
    listed = (yaml.safe_load(text) or {}).get("defaults", ()) if text else ()
    entries = (entry if isinstance(entry, dict) else {entry: None} for entry in listed)
    return {name: choice for entry in entries for name, choice in entry.items()}


def _text(name: str) -> str:
    """A file of `conf/`; empty for a user's own, which lies elsewhere."""
    place = files(MODULE) / f"{name}.yaml"
    return place.read_text(encoding="utf-8") if place.is_file() else ""


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any value
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        if key != "_partial_" and f"{path}.{key}" not in _HIDDEN:
            yield from _leaves(f"{path}.{key}", inner)


def _wrapped(text: str, first: str = "", others: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
