from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ttl_lightning.metrics.classification import score
from ttl_lightning.tasks.gather import gather, merge

# Eleven samples on two processes, which a distributed sampler makes twelve: sample 0 comes twice.
SCRIPT = """
import sys
import numpy as np
from torch import distributed
from ttl_lightning.tasks.gather import gather

rank, folder, sizes = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
)
table = np.load(f"{folder}/table.npz")
mine = {"even": [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 0]], "empty": [[*range(11)], []]}[sizes][rank]
rows = {"id": np.array(mine, dtype=np.int64)}
if mine:  # a process without samples does not know what is kept of them
    rows |= {"probabilities": table["probabilities"][mine], "labels": table["labels"][mine]}
np.savez(f"{folder}/{rank}.npz", **gather(rows))
distributed.destroy_process_group()
"""


def test_merge_keeps_the_first_row_of_an_id_and_sorts() -> None:
    first = {"id": np.array([4, 1]), "p": np.array([[0.4], [0.1]]), "label": np.array([1, 0])}
    second = {"id": np.array([1, 0]), "p": np.array([[9.0], [0.0]]), "label": np.array([9, 2])}
    merged = merge([first, second])
    np.testing.assert_array_equal(merged["id"], [0, 1, 4])
    np.testing.assert_array_equal(merged["p"], [[0.0], [0.1], [0.4]])
    np.testing.assert_array_equal(merged["label"], [2, 0, 1])


def test_merge_passes_over_parts_without_rows() -> None:
    empty = {"id": np.zeros(0, dtype=np.int64)}
    merged = merge([empty, {"id": np.array([3]), "p": np.array([[1.0, 2.0]])}])
    np.testing.assert_array_equal(merged["id"], [3])
    np.testing.assert_array_equal(merged["p"], [[1.0, 2.0]])
    assert [len(column) for column in merge([empty, empty]).values()] == [0]


def test_one_process_gathers_itself() -> None:
    merged = gather({"id": np.array([2, 0, 2]), "p": np.array([0.2, 0.0, 9.0])})
    np.testing.assert_array_equal(merged["id"], [0, 2])
    np.testing.assert_array_equal(merged["p"], [0.0, 0.2])


@pytest.mark.slow
@pytest.mark.parametrize("sizes", ["even", "empty"])
def test_two_processes_score_as_one(tmp_path: Path, sizes: str) -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(2), 11), rng.integers(0, 2, 11)
    np.savez(tmp_path / "table.npz", probabilities=probabilities, labels=labels)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", SCRIPT]
    jobs = [
        subprocess.Popen([*command, str(rank), str(tmp_path), sizes], cwd=root) for rank in (0, 1)
    ]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    whole = score(probabilities, labels, "binary", ("no", "yes")).values
    for rank in (0, 1):
        table = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_array_equal(table["id"], np.arange(11))
        values = score(table["probabilities"], table["labels"], "binary", ("no", "yes")).values
        assert values == pytest.approx(whole, abs=1e-12)
