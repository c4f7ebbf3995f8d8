"""`ttl-lightning backbones`: the networks, their families, and where they can be cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ttl_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ttl_lightning.models.backbones.survey import Surveyed

USE = """usage: ttl-lightning backbones [PATTERN …]

Every network by its family: parameters, cutoffs, and how they are known. "exact": a layout names
its units. "generic": timm's own interface gives the maps of its stages, which are its cutoffs.
"none": neither does. Each is built without values, so that all of them take minutes.

  ttl-lightning backbones 'vit_*' 'swin_*'         those whose names fit a pattern
  ttl-lightning backbones                          every one with published weights

"""


def usage(arguments: Sequence[str]) -> str:
    """The help's text."""
    del arguments
    return USE


def run(arguments: Sequence[str]) -> None:
    """List the networks that fit the patterns, as they are looked at.

    Raises:
        TTLError: if a pattern fits none.
    """
    from ttl_lightning.models.backbones.survey import matching, survey

    flags = [argument for argument in arguments if argument.startswith("-") or "=" in argument]
    if flags:
        raise ConfigError(f"backbones takes patterns of names, got {flags[0]!r}.")
    counts: Counter[str] = Counter()
    for line in _lines(survey(matching(list(arguments))), counts):
        print(line, flush=True)  # noqa: T201 - a command's output


def _lines(found: Iterator[Surveyed], counts: Counter[str]) -> Iterator[str]:
    yield f"{'name':<44}{'kind':<9}{'cutoffs':>7}{'parameters':>12}  family"
    for one in found:
        counts[one.kind] += 1
        size = f"{one.params / 1e6:.1f} M" if one.params else ""
        what = one.family or one.reason
        yield f"{one.name:<44}{one.kind:<9}{len(one.cutoffs):>7}{size:>12}  {what}"
    total = counts.total()
    known = counts["exact"] + counts["generic"]
    yield f"{known} of {total} have cutoffs: {counts['exact']} exact, {counts['generic']} generic."
