"""What the jobs of a sweep decode, one of them decodes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.second_sweep import CountedFiles, Written
from ttl_lightning.data import options
from ttl_lightning.data.module import DataModule
from ttl_lightning.data.options import SHARED, ImageView, Loading
from ttl_lightning.jobs.session import _shared

COUNT = 20


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    paths = tuple(tmp_path / f"{number}.png" for number in range(COUNT))
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def shared(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv(SHARED, str(tmp_path / "decoded"))
    return tmp_path / "decoded"


def _set_up(files: tuple[Path, ...], loading: Loading = Loading()) -> tuple[DataModule, list[int]]:  # noqa: B008
    reader = CountedFiles(list(files))
    data = DataModule(Written(reader=reader, files=files), ImageView(image_size=16), loading)
    data.setup()
    return data, reader.decoded


def test_a_run_alone_keeps_images_in_memory(files, monkeypatch) -> None:
    monkeypatch.delenv(SHARED, raising=False)
    before = set(files[0].parent.iterdir())
    _, decoded = _set_up(files)
    assert sorted(decoded) == list(range(COUNT))
    assert set(files[0].parent.iterdir()) == before


@pytest.mark.usefixtures("shared")
def test_a_second_job_decodes_nothing_and_sees_the_same(files, monkeypatch) -> None:
    first, decoded = _set_up(files)
    assert sorted(decoded) == list(range(COUNT))
    second, decoded = _set_up(files)
    assert decoded == []
    monkeypatch.delenv(SHARED)
    alone, _ = _set_up(files)
    for data in (first, second):
        for ours, wanted in zip(data.val_dataloader(), alone.val_dataloader(), strict=True):
            np.testing.assert_array_equal(ours["image"], wanted["image"])


@pytest.mark.usefixtures("shared")
def test_jobs_that_begin_together_wait_for_the_one_that_decodes(files) -> None:
    counts: list[int] = []
    jobs = [threading.Thread(target=lambda: counts.append(len(_set_up(files)[1]))) for _ in "ab"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(counts) == [0, COUNT]


def test_what_is_said_holds_and_without_room_or_files_memory_does(shared, monkeypatch) -> None:
    assert Loading().place("images", 5, 16).folder == shared
    assert Loading(cache="memory").place("images", 5, 16).cache == "memory"
    own = Loading(cache="disk", cache_dir="elsewhere").place("images", 5, 16)
    assert (own.cache, own.folder, own.shared) == ("disk", Path("elsewhere"), False)
    assert Loading().place("images", 0, 16).cache == "memory"
    monkeypatch.setattr(options, "_has_room", lambda *_: False)
    assert Loading().place("images", 5, 16).cache == "memory"


def test_room_is_looked_for_where_the_folder_will_be(tmp_path) -> None:
    assert options._has_room(tmp_path / "not" / "yet", 1)
    assert not options._has_room(tmp_path / "not" / "yet", 2**62)


def test_a_sweeps_folder_is_gone_at_its_end_and_stays_if_it_is_interrupted(tmp_path) -> None:
    folder = tmp_path / "decoded"
    with _shared(folder):
        assert os.environ[SHARED] == str(folder)
        folder.mkdir()
    assert not folder.exists()
    assert SHARED not in os.environ

    def interrupted() -> None:
        with _shared(folder):
            folder.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert folder.exists()
    assert SHARED not in os.environ
