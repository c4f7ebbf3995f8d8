import io
import subprocess
import sys

import pytest
from rich.console import Console

from ttl_lightning.cli.main import main
from ttl_lightning.report.sweep import show, write


def test_it_prints_the_table_the_failures_and_the_page(sweep_folder, result, monkeypatch, capsys):
    sweep_folder.add("ftl", result("ftl", None))
    sweep_folder.add("bad", result(status="failed", error="OSError: [red]full\n[/red] \x1b[2J"))
    monkeypatch.setattr(sys, "argv", ["report", str(sweep_folder.root)])
    main("report")
    out = capsys.readouterr().out
    assert "full finetuning" in out
    assert "failed: bad: OSError: [red]full [/red] [2J\n" in out
    assert "1 completed, 1 failed\n" in out
    assert f"report: {sweep_folder.root / 'report.html'}\n" in out


def test_many_failures_are_not_all_printed(sweep_folder, result) -> None:
    for number in range(23):
        sweep_folder.add(f"r{number:02}", result(status="failed", error="x"))
    console = Console(record=True, file=io.StringIO(), width=100)
    show(write(sweep_folder.root), console)
    text = console.export_text()
    assert text.count("failed: r") == 20
    assert "and 3 more" in text


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_that_is_no_sweep_is_one_line(tmp_path, monkeypatch, capsys, name) -> None:
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / name)])
    with pytest.raises(SystemExit) as stop:
        main("report")
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_starts_without_torch() -> None:
    code = "import sys, ttl_lightning.cli.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
