from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from ttl_lightning.runtime.shortage import ShortageError, check_folder, shortage


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"), r"No space left .* a/b: free"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), r"Read-only .*: give hydra\.run\.dir="),
        (PermissionError(errno.EACCES, "Permission denied", "x"), r"denied x: give hydra\.run"),
        (MemoryError(), r"out of memory: lower data\.batch_size"),
        (RuntimeError("std::bad_alloc"), "out of memory: lower"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of mem"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of GPU memory"),
        (RuntimeError("unable to open shared memory object"), r"/dev/shm.*num_workers=0"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error."), "num_workers"),
    ],
)
def test_what_is_lacking_is_one_line_with_a_way_out(error: Exception, text: str) -> None:
    found = shortage(error)
    assert found is not None
    assert found.__class__.__name__ == "ShortageError"
    assert "\n" not in str(found)
    with pytest.raises(type(found), match=text):
        raise found


def test_a_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/run", "x" * 300])
def test_a_folder_that_cannot_be_made_says_why(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ShortageError, match=r"is a file: give|directory.*: give hydra|too long.*: give a"
    ):
        check_folder(tmp_path / place)


def test_a_folder_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # who runs the tests may be let in anywhere
    with pytest.raises(ShortageError, match=r"cannot be written: give hydra\.run\.dir="):
        check_folder(tmp_path / "run")


@pytest.mark.parametrize(
    "error", [ValueError("a"), RuntimeError("shapes differ"), FileNotFoundError(2, "no", "x")]
)
def test_another_mistake_is_not_called_a_shortage(error: Exception) -> None:
    assert shortage(error) is None
