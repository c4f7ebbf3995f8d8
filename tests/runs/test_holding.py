from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import ConfigError, DataError, WeightsError
from ttl_lightning.models.backbones.factory import create_backbone
from ttl_lightning.records.folder import RunFolder
from ttl_lightning.records.schema import RunResult
from ttl_lightning.runs.holding import held, holder, is_held

FORK = multiprocessing.get_context("fork")


def _hold(folder: Path, ready: Event, end: Event) -> None:
    with held(folder):
        ready.set()
        end.wait(30)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Path]:
    """A folder that another process has."""
    folder = tmp_path / "run"
    ready, end = FORK.Event(), FORK.Event()
    process = FORK.Process(target=_hold, args=(folder, ready, end))
    process.start()
    assert ready.wait(30)
    yield folder
    end.set()
    process.join(30)
    assert process.exitcode == 0


@pytest.mark.slow
def test_the_second_is_told_who_has_the_folder(taken: Path) -> None:
    assert is_held(taken)
    with (
        pytest.raises(ConfigError, match=r"another run has the folder .*process \d+ on .*since 2"),
        held(taken),
    ):
        pytest.fail("two at once")
    # and takes nothing from the first, which may not have written its result yet
    with pytest.raises(ConfigError, match="another run has the folder"):
        ttl.train(overrides=["data.train_size=8"], run_dir=taken)
    assert (RunFolder(taken).holder).is_file()


def test_a_folder_is_free_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held(folder):
        assert is_held(folder)
    assert not is_held(folder)
    assert not (RunFolder(folder).holder).exists()
    with held(folder):
        pass
    assert not is_held(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"pid": "x"}'])
def test_a_holder_that_does_not_say_who_it_is(text: str, tmp_path: Path) -> None:
    (RunFolder(tmp_path).holder).write_text(text)
    assert holder(tmp_path) == "which does not say who it is"


def test_what_killed_writes_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in (".result.json.ab12cd34.part", "checkpoints/.last.ckpt.zz.part"):
        (tmp_path / name).write_text("half")
    (tmp_path / "notes.part").write_text("the user's own")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".result.json.ab.part").write_text("another run writes it just now")
    kept = [".result.json.ab.part", "notes.part"]
    with held(tmp_path):
        assert sorted(p.name for p in tmp_path.rglob("*.part")) == kept


@pytest.mark.parametrize("place", ["a file", "below a file", "a name that is too long"])
def test_a_folder_that_cannot_be_made_is_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "run",
        "a name that is too long": tmp_path / ("x" * 300),
    }[place]
    with pytest.raises(ConfigError, match=r"the run's folder .*give ") as caught, held(folder):
        pytest.fail("made")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").is_file()


STATES = {
    "running": "was cut off while it ran: the same command goes on",
    "interrupted": "is interrupted: the same command goes on",
    "failed": "is failed: the same command goes on",
    "paused": "is paused: the same command without until_epoch goes on",
}


@pytest.mark.parametrize("status", STATES)
def test_a_run_that_is_not_completed_is_not_taken_for_one(
    status: str, cut: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(cut, folder)
    result = RunResult.load(folder)
    result = replace(result, status=status)
    result.save(folder)
    for read in (ttl.load, ttl.open_run):
        with pytest.raises(DataError, match=rf"{STATES[status]}.* Its best epoch so far is .*ckpt"):
            read(folder)
    with pytest.raises(WeightsError, match=f"the run in .* is {status}, not completed"):
        create_backbone("test_resnet", folder)
    best = folder / "checkpoints" / "best.ckpt"
    assert ttl.load(best).class_names == ttl.load(cut).class_names
    assert create_backbone("test_resnet", best, needed="block2").weights_report


def test_a_run_that_is_being_trained_is_told_from_one_that_was_cut_off(
    taken: Path, cut: Path
) -> None:
    shutil.copytree(cut, taken, dirs_exist_ok=True)
    result = RunResult.load(taken)
    result = replace(result, status="running")
    result.save(taken)
    with pytest.raises(DataError, match=r"is being trained just now, by process \d+"):
        ttl.open_run(taken)
