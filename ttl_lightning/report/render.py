"""The templates of the report; what is put into them is text, whatever it holds."""

from __future__ import annotations

import jinja2
from markupsafe import Markup, escape

from ttl_lightning.errors import one_line
from ttl_lightning.report.text import count


def _prose(text: str) -> Markup:
    """With no line break between a number and its sign."""
    return Markup(str(escape(text)).replace(" = ", "&nbsp;=&nbsp;").replace(" %", "&nbsp;%"))


def _heading(text: str) -> Markup:
    """What stands in parentheses is on a line of its own."""
    return Markup(str(escape(text)).replace(" (", "<br>(").replace(" % ", "&nbsp;%&nbsp;"))


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("ttl_lightning.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "prose": _prose,
    "heading": _heading,
    "one_line": one_line,
    "count": count,
}


def render(template: str, **values: object) -> Markup:
    """A template of `templates/`, filled; a name that it lacks is an error."""
    return Markup(_TEMPLATES.get_template(template).render(values))
