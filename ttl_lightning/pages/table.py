"""A table as Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ttl_lightning.pages.render import render
from ttl_lightning.pages.text import MINUS, NONE

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "±": r"$\pm$", MINUS: r"$-$", NONE: "--", "✓": r"$\surd$",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """What one place of a table says; bold if nothing in its column is better.

    Attributes:
        aside: follows the text, in HTML on a line of its own.
    """

    text: str
    bold: bool = False
    aside: str = ""

    @property
    def whole(self) -> str:
        """Text and aside."""
        return f"{self.text} {self.aside}".strip()


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, the first `names` of them text, the others numbers; rows of cells."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]
    names: int = 2

    def markdown(self) -> str:
        """A pipe table."""
        rule = ["---" if place < self.names else "---:" for place in range(len(self.columns))]
        head, *rows = self._written(_markdown, "**{}**")
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))

    def latex(self) -> str:
        """A tabular for the package booktabs."""
        sides = "l" * self.names + "r" * (len(self.columns) - self.names)
        lines = (f"{' & '.join(line)} \\\\\n" for line in self._written(latex, "\\textbf{{{}}}"))
        top = f"\\begin{{tabular}}{{{sides}}}\n\\toprule\n{next(lines)}\\midrule\n"
        return f"{top}{''.join(lines)}\\bottomrule\n\\end{{tabular}}"

    def _written(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """The head's cells, and then every row's."""
        rows = [
            [bold.format(escape(c.text)) if c.bold else escape(c.whole) for c in row]
            for row in self.rows
        ]
        return [list(map(escape, self.columns)), *rows]

    def html(self) -> str:
        """A table in a container of its own, which scrolls where the page is narrow."""
        return render("table.html.j2", table=self)


def latex(text: str) -> str:
    """The text with what LaTeX would take for a command escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _markdown(text: str) -> str:
    escaped = "".join(f"\\{sign}" if sign in "\\|*_`[]#~&" else sign for sign in text)
    return re.sub(r"<(?! )", r"\\<", escaped)  # before a blank it begins no tag
