"""Templates as HTML that needs no network and runs no script, whatever results hold."""

from __future__ import annotations

import base64
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from ttl_lightning.errors import one_line
from ttl_lightning.pages.text import count


def _prose(text: str) -> Markup:
    """With no line break between a number and its sign."""
    return Markup(str(escape(text)).replace(" = ", "&nbsp;=&nbsp;").replace(" %", "&nbsp;%"))


def _heading(text: str) -> Markup:
    """What stands in parentheses is on a line of its own."""
    return Markup(str(escape(text)).replace(" (", "<br>(").replace(" % ", "&nbsp;%&nbsp;"))


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("ttl_lightning.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"prose": _prose, "heading": _heading, "one_line": one_line, "count": count}


def render(template: str, **values: object) -> Markup:
    """A template of `templates/`, filled; a name that it lacks is an error."""
    return Markup(_TEMPLATES.get_template(template).render(values))


def stored(path: Path) -> str | None:
    """A PNG file as an address that holds all of it; None if there is none, or something else."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return address("png", content) if content.startswith(b"\x89PNG\r\n") else None


def address(kind: str, content: bytes) -> str:
    """A picture of `png` or `svg+xml` as an address that holds all of it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
