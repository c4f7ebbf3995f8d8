"""Ranks of one run that were given different configurations."""

import os
import socket
import subprocess
import sys

import pytest

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "trainer.max_epochs=1",
    "trainer=ddp", "trainer.precision=32-true", "protocol.batch_size=4", "data.train_size=16",
    "data.val_size=8", "data.test_size=8",
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_ranks_must_train_one_configuration(same, tmp_path) -> None:
    port = str(free_port())
    processes = []
    for rank in range(2):
        env = {
            **os.environ, "OMP_NUM_THREADS": "1", "LOCAL_RANK": str(rank), "NODE_RANK": "0",
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        rate = "0.001" if same or rank == 0 else "0.002"
        folder = tmp_path / ("run" if same else f"run{rank}")
        options = [f"protocol.learning_rate={rate}", f"hydra.run.dir={folder}"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "ttl_lightning", *SMALL, *options], cwd=tmp_path, env=env,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    if same:
        assert [process.returncode for process in processes] == [0, 0], outputs
    else:
        assert all(process.returncode != 0 for process in processes)
        assert all("different configurations" in output for output in outputs)
