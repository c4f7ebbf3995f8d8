"""The package and the function share the name `search`."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

from ttl_lightning.search import Halving


@pytest.mark.parametrize(
    "first",
    [
        "import ttl_lightning.search",
        "import ttl_lightning.search.halving",
        "from ttl_lightning.search import Halving",
        "from ttl_lightning import search",
        "import ttl_lightning; ttl_lightning.search",
    ],
)
def test_the_function_and_the_package_are_there_whatever_is_imported_first(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ttl_lightning"]:
        monkeypatch.delitem(sys.modules, name)
    exec(first, {})
    package = importlib.import_module("ttl_lightning.search")
    halving = importlib.import_module("ttl_lightning.search.halving")
    assert importlib.import_module("ttl_lightning").search is package.search
    assert package.search(["stem"], {"stem": 1.0}.get).choice == "stem"
    assert package.Halving is halving.Halving is not Halving


def test_only_the_standard_library_and_errors_are_needed() -> None:
    folder = Path(sys.modules["ttl_lightning.search"].__file__).parent
    imported: set[str] = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    others = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {".".join(name.split(".")[:2]) for name in others} == {
        "ttl_lightning.search",
        "ttl_lightning.errors",
    }
