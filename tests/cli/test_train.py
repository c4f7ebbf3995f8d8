"""The command line as a user runs it, in processes of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "trainer.max_epochs=1",
    "trainer.accelerator=cpu", "trainer.precision=32-true", "protocol.batch_size=8",
]  # fmt: skip
PHANTOM = [*SMALL, "data.train_size=16", "data.val_size=8", "data.test_size=8"]
LIMIT_S = 60


def command(*arguments, cwd, env=None):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S
        * 3, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}, check=False,
    )  # fmt: skip


def refused(done, folder: Path, text: str) -> None:
    """One line, a status other than 0, and nothing left."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert text in lines[0]
    assert not (folder / "outputs").exists()


def test_importing_brings_in_nothing_heavy() -> None:
    heavy = {"torch", "timm", "hydra", "monai", "pandas"}
    code = f"import sys, ttl_lightning; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.slow
def test_a_run_from_the_command_line(tmp_path) -> None:
    done = command("ttl_lightning", *PHANTOM, "strategy=ttl", "cutoff=block2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder,) = (tmp_path / "outputs" / "default").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "completed"
    assert "strategy=ttl" in result["overrides"]
    assert "untruncated" in done.stdout
    # timed, or the reason why not is that of the machine
    cpu, note = result["complexity"]["latency_ms"]["cpu"], result["notes"]
    assert cpu or "the machine is too" in note["complexity/latency_ms/cpu"]
    assert str(folder) in done.stdout


@pytest.mark.slow
def test_a_multirun_makes_a_folder_a_job(tmp_path) -> None:
    options = [*PHANTOM, "latency=false", "-m", "strategy=ttl", "cutoff=block1,block2"]
    done = command("ttl_lightning", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {p.parent.parent.name for p in (tmp_path / "multirun").rglob("result.json")}
    assert found == {"block1.1", "block2.1"}  # by the full names of their units


@pytest.mark.slow
def test_ddp_scores_every_sample_once(tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    options = [*PHANTOM, "data.test_size=7", "strategy=ffe", "protocol.learning_rate=1e-12"]
    assert command("ttl_lightning", *options, f"hydra.run.dir={one}", cwd=tmp_path).returncode == 0
    ddp = ["trainer=ddp", "protocol.batch_size=4", f"hydra.run.dir={two}", "resume=never"]
    done = command("ttl_lightning", *options, *ddp, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, two)]
    for key in ("test/auroc", "test/auprc", "test/loss", "val/auroc"):
        assert results[1]["metrics"][key] == pytest.approx(results[0]["metrics"][key], abs=1e-6)
    assert len((two / "predictions.csv").read_text().splitlines()) == 1 + 8 + 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["strategy=tll"], "did you mean 'ttl'"),
        (["strategy=ttl"], "needs a cutoff"),
        (["strategy=ffe", "cutoff=block1"], "takes no cutoff"),
        (["strategy=ttl", "cutoff=blok1"], "did you mean 'block1'"),
        (["strategy=ftl", "seed=-1"], "seed must be an integer"),
        (["data.image_sise=3"], "did you mean 'data.image_size'"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_soon(options, text, tmp_path) -> None:
    start = time.monotonic()
    done = command("ttl_lightning", *PHANTOM, *options, cwd=tmp_path)
    refused(done, tmp_path, text)
    assert time.monotonic() - start < LIMIT_S  # 10 s on an idle machine


def pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("sick", "well"):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(
                folder / name / f"{k}.png"
            )


@pytest.mark.slow
def test_a_truncated_image_is_named_and_nothing_is_left(tmp_path) -> None:
    pictures(tmp_path / "images")
    bad = tmp_path / "images" / "sick" / "3.png"
    bad.write_bytes(bad.read_bytes()[:200])
    options = [
        *SMALL,
        "strategy=ttl",
        "cutoff=block1",
        "data=folder",
        f"data.path={tmp_path / 'images'}",
    ]
    refused(command("ttl_lightning", *options, cwd=tmp_path), tmp_path, str(bad))
    done = command(
        "ttl_lightning", *options, "data.on_bad_image=skip", "data.max_bad=1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "outputs").rglob("result.json")
    assert [Path(entry["id"]).name for entry in json.loads(result.read_text())["bad_images"]] == [
        "3.png"
    ]


@pytest.mark.slow
def test_without_network_and_cache_the_ways_out_are_named(tmp_path) -> None:
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    done = command("ttl_lightning", "backbone=resnet50", "strategy=ftl", cwd=tmp_path, env=env)
    refused(done, tmp_path, "Three ways out")


@pytest.mark.slow
def test_costs_of_all_cutoffs(tmp_path) -> None:
    options = ["backbone=test_resnet", "strategy=ttl", "data.image_size=64"]
    done = command("ttl_lightning", "cost", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [c in done.stdout for c in ("stem", "block1.1", "block4.1")] == [True] * 3
    assert not list(tmp_path.iterdir())
