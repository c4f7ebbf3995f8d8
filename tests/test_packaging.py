from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata, resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "conf", "ttl_lightning", "hydra_plugins")


def _packages_on_disk() -> set[str]:
    tops = (ROOT / "ttl_lightning", ROOT / "hydra_plugins")
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in tops
        for file in top.rglob("__init__.py")
    }
    # a namespace package has no __init__.py of its own
    namespace = {"hydra_plugins"} if (ROOT / "hydra_plugins").is_dir() else set()
    return found | namespace | {"ttl_lightning.conf"}


def _config_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")}


def test_every_folder_of_modules_is_a_listed_package() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == _packages_on_disk()


def test_no_folder_of_modules_lacks_its_init() -> None:
    folders = {file.parent for file in (ROOT / "ttl_lightning").rglob("*.py")}
    assert [f"{folder}" for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_installed_configs_are_those_of_the_repository() -> None:
    with resources.as_file(resources.files("ttl_lightning.conf")) as installed:
        assert _config_files(installed) == _config_files(ROOT / "conf") != set()
        # Hydra takes a package for a source of configs only when this file is there
        assert (installed / "__init__.py").is_file()


def test_version_is_that_of_the_package() -> None:
    import ttl_lightning

    assert metadata.version("ttl_lightning") == ttl_lightning.__version__


def test_extra_all_is_every_extra_for_users() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    expected = sorted(set(extras) - {"all", "test", "dev", "docs", "peers", "ray", "openvino"})
    (only,) = extras["all"]
    assert sorted(only.removeprefix("ttl_lightning[").removesuffix("]").split(",")) == expected


def _run(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    env = os.environ | ({"PYTHONPATH": f"{path}"} if path else {})
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _build(kind: str, source: Path, out: Path) -> Path:
    out.mkdir()
    script = f"import sys, setuptools.build_meta as b; b.build_{kind}(sys.argv[1])"
    _run("-c", script, f"{out}", cwd=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel made from the source distribution, which is made from a copy of the repository."""
    work = tmp_path_factory.mktemp("packaging")
    source = work / "source"
    source.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    with tarfile.open(_build("sdist", source, work / "sdist")) as archive:
        archive.extractall(work / "unpacked", filter="data")
    (unpacked,) = (work / "unpacked").iterdir()
    return _build("wheel", unpacked, work / "wheel")


@pytest.mark.slow
def test_wheel_holds_configs_types_mark_and_every_module(wheel: Path) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ttl_lightning").rglob("*.py")}
    configs = {f"ttl_lightning/conf/{name}" for name in _config_files(ROOT / "conf")}
    templates = (ROOT / "ttl_lightning" / "pages" / "templates").iterdir()
    beside = {path.relative_to(ROOT).as_posix() for path in templates}
    wanted = modules | configs | beside
    wanted |= {"ttl_lightning/conf/__init__.py", "ttl_lightning/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wanted - names == set()
    # nothing but the package and its metadata: no tests, no top-level `conf`
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} <= {
        "ttl_lightning",
        "hydra_plugins",
    }


@pytest.mark.slow
def test_command_runs_on_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # the path comes before the editable install's own finder; what it names must be all there
    script = "from importlib.resources import files; print(files('ttl_lightning.conf'))"
    where = _run("-c", script, cwd=tmp_path, path=site)
    assert Path(where.strip()) == site / "ttl_lightning" / "conf"
    said = _run("-m", "ttl_lightning", "train", "--help", cwd=tmp_path, path=site)
    assert "strategy=ffe | ftl" in said
