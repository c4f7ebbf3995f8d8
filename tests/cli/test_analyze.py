from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ttl_lightning.cli.analyze import KINDS, analyze, run, usage
from ttl_lightning.errors import ConfigError, TTLError


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("transfers", ["run=x"], "did you mean 'transfer'"),
        ("transfer", [], r"which run\? Give run=FOLDER\."),
        ("transfer", ["run=x", "slit=val"], "unknown argument 'slit'; did you mean 'split'"),
        ("transfer", ["run="], r"which run\? Give run=FOLDER\."),
        ("transfer", ["run=x", "most=many"], "^most=many: "),
        ("transfer", ["run=x", "most={"], "^most={: "),
        ("gradcam", ["run=x", "ids=[1"], r"^ids=\[1: "),
        ("transfer", ["run=x", "split"], "arguments are KEY=VALUE"),
        ("transfer", ["run=x", "device=gpu"], "device"),
    ],
)
def test_a_mistake_is_one_line(kind: str, arguments: list[str], text: str) -> None:
    with pytest.raises(TTLError, match=text) as caught:
        analyze(kind, arguments)
    assert "\n" not in str(caught.value)


def test_no_kind_is_one_line_that_names_them() -> None:
    with pytest.raises(ConfigError, match=r"^which kind of analysis\? transfer, cross, probe, "):
        run([])


@pytest.mark.slow
def test_options_out_of_range(cut: Path) -> None:
    for argument in ("split=training", "most=0", "variance=2"):
        with pytest.raises(TTLError):
            analyze("transfer", [f"run={cut}", "device=cpu", argument])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there(cut: Path) -> None:
    with pytest.raises(ConfigError, match=r"^device=cuda: there is no GPU .* auto, cpu\.$"):
        analyze("transfer", [f"run={cut}", "device=cuda"])


def test_the_help_lists_every_kind_and_option() -> None:
    text = usage([])
    assert all(f"  {kind}" in text for kind in KINDS)
    assert "split=test, most=null" in text


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ttl_lightning.analyze"]
    done = subprocess.run([*command, "transfer", f"run={tmp_path}"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert subprocess.run([*command, "--help"], capture_output=True).returncode == 0
