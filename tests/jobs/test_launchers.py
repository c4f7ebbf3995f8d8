"""Launchers beyond one machine: submitit, with and without Slurm, and Ray; both are optional."""

import csv
import json
import os
import secrets
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_plugins.ttl_lightning import launcher as plugin
from ttl_lightning.errors import ConfigError
from ttl_lightning.jobs import job as jobs
from ttl_lightning.jobs.job import Job
from ttl_lightning.jobs.process import End
from ttl_lightning.records.schema import RunResult

LIMIT_S = 300
MISBEHAVING = "protocol.optimizer._target_=misbehaving.optimizer"
DDP = (
    "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "protocol.batch_size=4",
    "protocol.optimizer._target_=witness.optimizer",
)  # fmt: skip
# Leaves a file for each rank of each job.
WITNESS = """
import uuid
import torch

def optimizer(params, **settings):
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    open(f"{rank} of {count}.{uuid.uuid4().hex}.rank", "w").close()
    return torch.optim.AdamW(params, **settings)
"""
# One job ends the process that its launcher gave it, and another is still training then.
LOST = """
import time
import psutil
import torch

def optimizer(params, **settings):
    if torch.initial_seed() == 2:
        keeper, server, launcher = psutil.Process().parents()[:3]
        launcher.kill()
    time.sleep(30)
    return torch.optim.AdamW(params, **settings)
"""
PLUGINS = {
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}
EXTRAS = {"submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
OPTIONS = {
    "submitit_local": ("hydra/launcher=submitit_local",),
    # one core a job and two in all: both jobs at once
    "ray": ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"),
}
# A Slurm of one machine: every job of an array at once, every task of a job a process.
SBATCH = """#!{python}
import os, re, subprocess, sys
from pathlib import Path
script = Path(sys.argv[1]).read_text()
flags = dict(re.findall(r"#SBATCH --([a-z-]+)=(\\S+)", script))
tasks = int(flags["ntasks-per-node"]) * int(flags["nodes"])
last = int(re.match(r"0-(\\d+)", flags.get("array", "0-0"))[1])
for k in range(last + 1):
    variables = dict(
        SLURM_JOB_ID=str({job} + 1 + k), SLURM_JOB_NAME=flags["job-name"], SLURM_NODEID="0",
        SLURM_JOB_NUM_NODES="1", SLURM_JOB_NODELIST="localhost", SLURM_NODELIST="localhost",
        SLURM_NTASKS=str(tasks), SLURM_NTASKS_PER_NODE=str(tasks),
    )
    if last:
        variables |= dict(SLURM_ARRAY_JOB_ID="{job}", SLURM_ARRAY_TASK_ID=str(k))
    else:
        variables |= dict(SLURM_JOB_ID="{job}")
    subprocess.Popen(
        ["bash", "-c", script], env=os.environ | variables, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
Path("sbatch.sh").write_text(script)
print("Submitted batch job {job}")
"""
SRUN = """#!{python}
import os, subprocess, sys
command = sys.argv[sys.argv.index({python!r}):]
tasks = [
    subprocess.Popen(command, env=os.environ | dict(SLURM_PROCID=str(k), SLURM_LOCALID=str(k)))
    for k in range(int(os.environ["SLURM_NTASKS"]))
]
sys.exit(max(abs(task.wait()) for task in tasks))
"""
needs = {
    launcher: pytest.mark.skipif(find_spec(plugin) is None, reason=f"needs {plugin}")
    for launcher, plugin in PLUGINS.items()
}
each = pytest.mark.parametrize("launcher", [pytest.param(n, marks=needs[n]) for n in OPTIONS])
# Hydra says so wherever a file has the name of a plugin's own; the command line keeps it quiet.
shadowing = pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/:UserWarning")


@pytest.fixture
def sweep(workdir, small, tmp_path_factory):
    """Runs `python -m ttl_lightning -m …` in an empty folder."""
    modules = (str(Path(__file__).parent), str(workdir), os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(modules)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    # Without this, Ray would write a token for its own processes into the user's home.
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text(secrets.token_hex(32))
    env |= {"RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}

    def run(*arguments, **variables):
        command = [sys.executable, "-m", "ttl_lightning", "-m", *small, *arguments]
        return subprocess.run(
            command, cwd=workdir, env=env | variables, capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip

    return run


def results(folder: Path) -> dict[str, dict]:
    """By the job's folder."""
    return {
        path.parent.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in (folder / "multirun").rglob("result.json")
    }


def ends(folder: Path) -> dict[int, str]:
    """How the job of each seed ended."""
    return {run["seed"]: run["status"] for run in results(folder).values()}


def ranks(folder: Path) -> list[str]:
    """Which of how many, of all jobs."""
    return sorted(path.name.partition(".")[0] for path in folder.glob("*.rank"))


@pytest.mark.slow
@each
def test_a_sweep_completes(launcher, sweep, workdir) -> None:
    done = sweep("strategy=ttl", "cutoff=block1,block2", *OPTIONS[launcher])
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    found = results(workdir)
    assert {run["cutoff"] for run in found.values()} == {"block1.1", "block2.1"}
    assert {run["status"] for run in found.values()} == {"completed"}
    assert (workdir / "multirun" / "default" / "report.html").is_file()


@pytest.mark.slow
@each
def test_a_job_that_fails_ends_alone_and_is_run_again(launcher, sweep, workdir) -> None:
    options = ("strategy=ttl", "cutoff=block1", "seed=1,2,8", MISBEHAVING, *OPTIONS[launcher])
    done = sweep(*options)
    assert done.returncode == 1, done.stderr
    assert ends(workdir) == {1: "completed", 2: "failed", 8: "failed"}
    errors = {run["seed"]: run["error"] for run in results(workdir).values()}
    assert "no such luck" in errors[2]
    assert "SIGKILL" in errors[8]
    before = {p: p.stat().st_mtime_ns for p in (workdir / "multirun").rglob("result.json")}
    (workdir / "mended").touch()
    done = sweep(*options)
    assert done.returncode == 0, done.stderr
    assert ends(workdir) == {1: "completed", 2: "completed", 8: "completed"}
    again = {
        path.parent.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns
    }
    assert again == {"seed2", "seed8"}


@pytest.mark.slow
@needs["submitit_local"]
def test_a_job_that_its_launcher_loses_ends_alone(sweep, workdir) -> None:
    (workdir / "lost.py").write_text(LOST)
    options = ("strategy=ttl", "cutoff=block1", "seed=2,3", *OPTIONS["submitit_local"])
    done = sweep(*options, "protocol.optimizer._target_=lost.optimizer")
    assert done.returncode == 1, done.stderr
    assert ends(workdir) == {2: "failed", 3: "completed"}
    errors = {run["seed"]: run["error"] for run in results(workdir).values()}
    assert "the launcher failed: UncompletedJobError" in errors[2]
    with (workdir / "multirun" / "default" / "summary.csv").open() as file:
        table = {row["seed"]: row["status"] for row in csv.DictReader(file)}
    assert table == {"2": "failed", "3": "completed"}


@pytest.mark.slow
@each
def test_lightning_starts_the_ranks_of_a_job(launcher, sweep, workdir) -> None:
    (workdir / "witness.py").write_text(WITNESS)
    done = sweep("strategy=ttl", "cutoff=block1,block2", *DDP, *OPTIONS[launcher])
    assert done.returncode == 0, done.stderr
    assert len(results(workdir)) == 2  # the second rank has no folder of its own
    assert {run["status"] for run in results(workdir).values()} == {"completed"}
    assert ranks(workdir) == ["0 of 2", "0 of 2", "1 of 2", "1 of 2"]


@pytest.fixture
def slurm(workdir) -> dict[str, str]:
    """Environment of a machine with Slurm's commands, as far as submitit uses them."""
    folder = workdir / "bin"
    folder.mkdir()
    programs = {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!{python}\n"}
    for name, text in programs.items():
        (folder / name).write_text(text.format(python=sys.executable, job=4711))
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
@needs["submitit_slurm"]
@pytest.mark.parametrize("one_task", [False, True])
def test_a_slurm_job_for_each_job(one_task, slurm, sweep, workdir) -> None:
    (workdir / "witness.py").write_text(WITNESS)
    tasks = ("hydra.launcher.tasks_per_node=1",) if one_task else ()
    options = ("hydra/launcher=submitit_slurm", "hydra.launcher.gpus_per_node=null", *tasks)
    done = sweep("strategy=ttl", "cutoff=block1", *DDP, *options, **slurm)
    assert done.returncode == 0, done.stderr
    asked = (workdir / "sbatch.sh").read_text().splitlines()
    assert f"#SBATCH --ntasks-per-node={1 if one_task else 2}" in asked
    assert "#SBATCH --time=60" in asked
    assert not [line for line in asked if "gpus" in line]
    assert {run["status"] for run in results(workdir).values()} == {"completed"}
    assert ranks(workdir) == ["0 of 2", "1 of 2"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_plugin_that_is_missing_is_told_in_one_line(launcher, sweep, workdir) -> None:
    if find_spec(PLUGINS[launcher]):
        pytest.skip(f"has {PLUGINS[launcher]}")
    done = sweep("strategy=ftl", f"hydra/launcher={launcher}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"pip install 'ttl_lightning[{EXTRAS[launcher]}]'" in done.stderr
    assert not list(workdir.iterdir())


@shadowing
@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_plugin_that_is_missing_is_named(launcher, composed, monkeypatch) -> None:
    settings = composed([f"hydra/launcher={launcher}"])
    monkeypatch.setattr(plugin, "find_spec", lambda name: {PLUGINS[launcher]: None}[name])
    with pytest.raises(ConfigError) as caught:
        plugin.check_installed(settings)
    assert str(caught.value) == (
        f"hydra/launcher={launcher} needs a plugin: pip install 'ttl_lightning[{EXTRAS[launcher]}]'"
    )
    monkeypatch.setattr(plugin, "find_spec", lambda name: {PLUGINS[launcher]: "found"}[name])
    plugin.check_installed(settings)


def test_our_own_launcher_needs_no_plugin(composed) -> None:
    plugin.check_installed(composed([]))


@shadowing
@pytest.mark.parametrize(
    ("devices", "tasks"), [("1", 1), ("4", 4), ("[0,2]", 2), ("auto", 1), ("-1", 1)]
)
def test_slurm_starts_a_task_a_device(devices, tasks, composed) -> None:
    launcher = composed(
        ["hydra/launcher=submitit_slurm", f"trainer.devices={devices}"]
    ).hydra.launcher
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (1, tasks, tasks)


@shadowing
def test_slurm_takes_the_nodes_of_the_trainer(composed) -> None:
    options = ["hydra/launcher=submitit_slurm", "trainer.devices=4", "+trainer.num_nodes=2"]
    launcher = composed(options).hydra.launcher
    assert (launcher.nodes, launcher.tasks_per_node) == (2, 4)


@pytest.mark.parametrize(
    ("launcher", "schema"),
    [
        pytest.param(name, schema, marks=needs[name])
        for name, schema in (
            ("submitit_slurm", "hydra_submitit_launcher.config.SlurmQueueConf"),
            ("submitit_local", "hydra_submitit_launcher.config.LocalQueueConf"),
            ("ray", "hydra_ray_launcher._config.RayLauncherConf"),
        )
    ],
)
@shadowing
def test_our_file_has_the_keys_of_the_plugin(launcher, schema, composed) -> None:
    module, _, name = f"hydra_plugins.{schema}".rpartition(".")
    theirs = OmegaConf.structured(getattr(__import__(module, fromlist=[name]), name))
    ours = OmegaConf.load(Path(plugin.__file__).parents[2] / f"conf/hydra/launcher/{launcher}.yaml")
    assert set(ours) == set(theirs)
    assert ours._target_ == theirs._target_
    composed([f"hydra/launcher={launcher}"])  # values of other types than the plugin's would raise


@pytest.fixture
def task(composed, small, monkeypatch):
    """A job, and the environments that its process was started with instead of running it."""
    started = []

    def run(_task, log, *, env, **_others) -> End:
        started.append(env)
        log.write_text("error: no such luck\n")
        return End(2)

    monkeypatch.setattr(jobs, "run", run)
    return Job.from_hydra(composed([*small, "strategy=ftl"])), started


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_slurm_task_records(rank, task, monkeypatch) -> None:
    job, started = task
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "7")  # of something around it
    result = job.finish()
    (env,) = started
    assert (env["SLURM_NTASKS"], env["SLURM_PROCID"]) == ("2", str(rank))
    assert "WORLD_SIZE" not in env
    assert (job.folder / "result.json").exists() == (rank == 0)
    if rank == 0:
        assert (result.status, result.error) == ("failed", "no such luck")
        assert RunResult.load(job.folder).error == "no such luck"


@pytest.mark.parametrize("variables", [{}, {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7"}])
def test_a_single_task_starts_its_ranks_itself(variables, task, monkeypatch) -> None:
    job, started = task
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = job.finish()
    (env,) = started
    assert not [name for name in env if name.startswith("SLURM_")]
    assert (result.status, result.error) == ("failed", "no such luck")
    assert RunResult.load(job.folder).status == "failed"
