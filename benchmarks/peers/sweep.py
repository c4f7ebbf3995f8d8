"""What a sweep of short runs takes under this package's launcher, Hydra's own and joblib's."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

JOBS, ROUNDS = 24, 2
SMALL = (
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "latency=false",
    "trainer.max_epochs=1", "trainer.accelerator=cpu", "protocol.batch_size=16",
    "data.train_size=64", "data.val_size=32", "data.test_size=32", "figures=[png]",
    "strategy=ttl", "cutoff=block2",
)  # fmt: skip
# One run a job, with nothing of ours around it but `ttl.train`.
APP = """
from pathlib import Path
import hydra, sys
from hydra.core.hydra_config import HydraConfig
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    import ttl_lightning as ttl
    seed = int(cfg.seed)
    folder = Path(HydraConfig.get().runtime.output_dir, "run")
    ttl.train(overrides=[*{small!r}, f"seed={{seed}}"], run_dir=folder)
main()
"""


def launchers(python: Path, jobs: int) -> list[dict[str, Any]]:
    """Seconds of the same sweep under each, by turns."""
    with tempfile.TemporaryDirectory() as place:
        app = Path(place, "app.py")
        app.write_text(APP.format(small=SMALL))
        seeds = f"seed=range({jobs})"
        theirs = [python, app, "-m", f"+{seeds}"]  # below the working folder, a new one each time
        sides = {
            "Hydra's basic launcher": theirs,
            "joblib's, 2 at once": [*theirs, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
            "ours, 1 at once": [python, "-m", "ttl_lightning", "-m", *SMALL, seeds],
            "ours, 2 at once": [
                *(python, "-m", "ttl_lightning", "-m", *SMALL, seeds),
                "hydra.launcher.n_jobs=2",
            ],
        }
        has = subprocess.run(
            [python, "-c", "import hydra_plugins.hydra_joblib_launcher"],
            capture_output=True, check=False,
        )  # fmt: skip
        if has.returncode:
            del sides["joblib's, 2 at once"]
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(1 if jobs < JOBS else ROUNDS):
            for name, command in sides.items():
                seconds[name].append(_taken(command, Path(place, f"{turn}")))
    base = seconds["Hydra's basic launcher"]
    return [
        {
            "": name,
            "seconds": f"{median(took):.1f} ({min(took):.1f}–{max(took):.1f})",
            "basic / this": f"{median(a / b for a, b in zip(base, took, strict=True)):.2f}",
        }
        for name, took in seconds.items()
    ]


def _taken(command: list[object], folder: Path) -> float:
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as cwd:
        begun = time.perf_counter()
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        return time.perf_counter() - begun
