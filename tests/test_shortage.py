from __future__ import annotations

import errno
import os

import pytest
import torch

from ttl_lightning.shortage import shortage


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


@pytest.mark.parametrize(
    "error", [ValueError("a"), RuntimeError("shapes differ"), FileNotFoundError(2, "no", "x")]
)
def test_another_mistake_is_not_called_a_shortage(error: Exception) -> None:
    assert shortage(error) is None
