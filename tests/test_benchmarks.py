"""Every benchmark still runs, on the least that it can measure; its numbers are not looked at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text())
SCRIPTS.append("peers/run.py")
LIMIT_S = 600
ELSEWHERE = "kill_and_resume.py"
"""What tests/jobs/test_multirun.py runs with more kills than `--smoke` has."""


@pytest.mark.slow
@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != ELSEWHERE])
def test_benchmark_runs(script, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), "--smoke"], cwd=tmp_path, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir()), "it leaves something where it was started"


@pytest.mark.parametrize("script", SCRIPTS)
def test_benchmark_uses_what_is_public(script) -> None:
    lines = (FOLDER / script).read_text().splitlines()
    assert not [line for line in lines if "mock" in line or "monkeypatch" in line]
    imports = [line for line in lines if line.startswith(("from ttl_lightning", "import ttl_"))]
    assert not [line for line in imports if " _" in line or "._" in line]


def test_readme_names_every_benchmark() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [script for script in SCRIPTS if f"python benchmarks/{script}" not in text] == []
