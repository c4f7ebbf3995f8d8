import random

import numpy as np
import pytest
import torch

from ttl_lightning.runs.callbacks import checkpoints
from ttl_lightning.runs.callbacks.checkpoints import AtomicCheckpointIO


def test_a_save_that_fails_leaves_the_good_checkpoint(tmp_path, monkeypatch) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "deep" / "last.ckpt"
    io.save_checkpoint({"x": torch.ones(3)}, path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"x": torch.zeros(3)}, path)
    assert torch.equal(torch.load(path, weights_only=True)["x"], torch.ones(3))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_temporary_folder_is_not_used(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    AtomicCheckpointIO().save_checkpoint({"x": 1}, tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"x": 1}


def test_all_random_generators_go_on_where_they_were(tmp_path) -> None:
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002

    path = tmp_path / "state"
    torch.save(checkpoints._random_state(), path)
    expected = draw()
    assert draw() != expected
    checkpoints._set_random_state(torch.load(path, weights_only=True))
    assert draw() == expected
