"""The commands behind one name: which one is meant, its help, what it prints when it goes wrong."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time

import pytest

from ttl_lightning import __version__
from ttl_lightning.cli.main import COMMANDS, main

HEAVY = {"torch", "timm", "pytorch_lightning", "monai"}
DOORS = {
    "report": "report",
    "analyze": "analyze",
    "probe": "probe",
    "cost": "complexity",
    "evaluate": "evaluate",
    "predict": "predict",
}
LIMIT_S = 2.0


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What the commands were called with, instead of what they do."""
    seen: list[tuple[str, list[str]]] = []
    for name in COMMANDS:
        module = importlib.import_module(f"ttl_lightning.cli.{name}")
        monkeypatch.setattr(module, "run", lambda given, name=name: seen.append((name, [*given])))
    return seen


@pytest.mark.parametrize(
    ("given", "name", "rest"),
    [
        ([], "train", []),
        (["strategy=ttl", "-m"], "train", ["strategy=ttl", "-m"]),
        (["train", "strategy=ttl"], "train", ["strategy=ttl"]),
        (["-m", "seed=0,1"], "train", ["-m", "seed=0,1"]),
        (["~seed", "+a.b=3"], "train", ["~seed", "+a.b=3"]),
        (["--cfg", "job"], "train", ["--cfg", "job"]),
        (["report", "multirun/x"], "report", ["multirun/x"]),
        (["cost", "backbone=resnet18"], "cost", ["backbone=resnet18"]),
        (["probe"], "probe", []),
        (["analyze", "probe", "run=x"], "analyze", ["probe", "run=x"]),
    ],
)
def test_a_command_gets_what_stands_behind_its_name(
    given, name, rest, called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ttl-lightning", *given])
    main()
    assert called == [(name, rest)]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["trian", "strategy=ttl"], "unknown command 'trian'; did you mean 'train'?"),
        (["costs"], "unknown command 'costs'; did you mean 'cost'?"),
        (["report"], "report takes one folder, such as multirun/NAME, got none."),
        (["report", "a", "b"], "report takes one folder, such as multirun/NAME, got a b."),
        (["strategy=tll"], "unknown strategy 'tll'; did you mean 'ttl'?"),
        (["cost", "strategy=tll"], "unknown strategy 'tll'; did you mean 'ttl'?"),
        (["cost", "strategy=tll", "--help"], "unknown strategy 'tll'; did you mean 'ttl'?"),
        (["cost", "cutoff=block1,block2"], "gives several values: add -m"),
        (["data.path"], "cannot read an override"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(given, text, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ttl-lightning", *given])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert text in line
    assert list(tmp_path.iterdir()) == []


def test_the_overview_names_every_command(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["ttl-lightning", "--help"])
    main()
    lines = capsys.readouterr().out.splitlines()
    for name, summary in COMMANDS.items():
        assert f"  {name:<9}{summary}" in lines


def test_the_version_is_the_packages(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["ttl-lightning", "--version"])
    main()
    assert capsys.readouterr().out == f"ttl_lightning {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS), ["-m", "seed=0,1"]])
def test_help_comes_soon_and_brings_in_nothing_heavy(arguments, tmp_path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['ttl_lightning', *{arguments}, '--help']\n"
        "runpy.run_module('ttl_lightning', run_name='__main__')\n"
        f"assert not {HEAVY} & set(sys.modules)"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    took_s = time.monotonic() - start
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ttl-lightning ")
    assert not list(tmp_path.iterdir())
    assert took_s < 3 * LIMIT_S  # LIMIT_S on an idle machine


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_an_older_door_is_the_command(name: str) -> None:
    def said(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    for rest in (["--help"], ["a", "b", "nonsense=1"]):
        old = said(f"ttl_lightning.{DOORS[name]}", *rest)
        assert old == said("ttl_lightning", name, *rest)
        assert old[0] == (0 if rest == ["--help"] else 2)


COMPLETE = """
ttl-lightning() {{ {python} -c 'import sys; sys.argv[0] = "ttl-lightning"
from ttl_lightning.cli.main import main; main()' "$@"; }}
eval "$(ttl-lightning -sc install=bash)"
command() {{ echo /bin/true; }}
COMP_LINE={line!r} COMP_POINT={point} COMP_CWORD={word}
hydra_bash_completion
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected", "absent"),
    [
        ("ttl-lightning ", {"train", "report", "cost", "strategy=", "seed="}, set()),
        ("ttl-lightning co", {"cost"}, {"train", "strategy="}),
        ("ttl-lightning strategy=", {"strategy=ttl", "strategy=tf"}, {"train"}),
        ("ttl-lightning train strategy=t", {"strategy=ttl", "strategy=tf"}, {"strategy=ftl"}),
        ("ttl-lightning cost data.image_", {"data.image_size="}, {"cost"}),
        ("ttl-lightning analyze tr", {"transfer"}, {"trainer.", "train"}),
        ("ttl-lightning analyze transfer sp", {"split="}, {"most="}),
    ],
)
def test_bash_completes_commands_choices_and_keys(line, expected, absent, tmp_path) -> None:
    word = len(line.split()) - (not line.endswith(" "))
    script = COMPLETE.format(python=sys.executable, line=line, point=len(line), word=word)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    found = set(done.stdout.splitlines())
    assert expected <= found, done.stderr
    assert not absent & found
    assert not list(tmp_path.iterdir())
