"""What the documents and pyproject say of the code is what the code does."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
OPTIONAL = PROJECT["optional-dependencies"]
(CONTRACT,) = PYPROJECT["tool"]["importlinter"]["contracts"]
OWN = {"ttl_lightning", "hydra_plugins", "tests", "benchmarks"}
FOR_USERS = {name for name in OPTIONAL if name not in ("test", "dev", "docs", "peers")}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: Iterable[str]) -> set[str]:
    """Distributions that are named, without the project's own extras."""
    names = {normalized(re.match(r"[\w.-]+", line)[0]) for line in requirements}
    return names - {"ttl-lightning"}


def imported(*folders: str) -> set[str]:
    """Distributions that the modules below import, wherever in a module they do."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert files
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    full = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    full |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    beside = {path.stem for path in files}  # benchmarks and tests import their neighbours
    tops = {name.partition(".")[0] for name in full} - sys.stdlib_module_names - OWN - beside
    of = metadata.packages_distributions()
    return {normalized(distribution) for top in tops for distribution in set(of.get(top, [top]))}


def test_no_dependency_is_imported_by_nothing() -> None:
    assert declared(PROJECT["dependencies"]) - imported("ttl_lightning", "hydra_plugins") == set()


def test_everything_imported_is_declared() -> None:
    extras = [line for name in FOR_USERS for line in OPTIONAL[name]]
    known = declared([*PROJECT["dependencies"], *extras])
    assert imported("ttl_lightning", "hydra_plugins") - known == set()


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_everything_that_tests_import_is_declared(folder: str) -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in OPTIONAL.values() for line in extra)]
    assert imported(folder) - declared(lines) == set()


@pytest.mark.parametrize("where", [PROJECT["dependencies"], *OPTIONAL.values()])
def test_nothing_is_declared_twice(where: list[str]) -> None:
    names = [normalized(re.match(r"[\w.-]+", line)[0]) for line in where]
    assert len(names) == len(set(names))


def test_contributing_has_the_layers_of_pyproject() -> None:
    line = " → ".join(CONTRACT["layers"])
    assert line in " ".join((ROOT / "CONTRIBUTING.md").read_text().split())


def test_contributing_has_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text.partition("## The rooms")[2], re.MULTILINE)
    rooms = [path.parent.name for path in (ROOT / "ttl_lightning").glob("*/__init__.py")]
    assert sorted(rows) == sorted(rooms)
    # from the top down, as imports go
    order = [name.strip() for layer in CONTRACT["layers"] for name in layer.split("|")]
    levels = [next(k for k, layer in enumerate(CONTRACT["layers"]) if row in layer.split(" | "))
              for row in rows]  # fmt: skip
    assert set(rows) < set(order)
    assert levels == sorted(levels)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_every_path_that_is_named_is_there(document: str) -> None:
    tops = "ttl_lightning|hydra_plugins|conf|tests|benchmarks|notebooks|docs"
    named = re.findall(rf"(?<![\w/.])((?:{tops})/[\w./<>-]*\w)", (ROOT / document).read_text())
    assert [path for path in named if "<" not in path and not (ROOT / path).exists()] == []
    templates = {path.partition("<")[0].rpartition("/")[0] for path in named if "<" in path}
    assert [folder for folder in templates if not (ROOT / folder).is_dir()] == []


def test_the_readme_is_short_and_every_page_of_the_site_is_there() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
    named = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text())
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(named) == there


def test_every_published_data_set_has_a_page() -> None:
    from ttl_lightning.data.sources.published import PublishedSource
    from ttl_lightning.data.sources.registry import SOURCES, source

    kinds = {kind for name in SOURCES if (kind := source(name)) is not None}
    names = {kind.name for kind in kinds if issubclass(kind, PublishedSource)} - {""}
    assert len(names) >= 7
    assert all((ROOT / "docs/data" / f"{name}.md").is_file() for name in names)
