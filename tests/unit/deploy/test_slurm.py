"""The recipes of a cluster: they parse, they name what exists, and a job that runs out of time goes on in the next one."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training.loop import train
from support.ranks import run_ranks
from support.slurm import FakeSlurm
from support.steps import LOSSES, overrides, write_pairs
from support.waiting import eventually

DEPLOY = Path(__file__).parents[3] / "deploy"
RECIPE = DEPLOY / "slurm" / "train.sbatch"
IMAGE = DEPLOY / "apptainer" / "trainer.def"
OF_SBATCH = {
    "job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "requeue", "open-mode", "output",
}  # fmt: skip


def directives():
    return dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", RECIPE.read_text(), re.MULTILINE))


def test_the_script_parses_and_sbatch_would_read_every_directive():
    subprocess.run(["bash", "-n", RECIPE], check=True)
    lines = RECIPE.read_text().splitlines()
    assert directives().keys() == OF_SBATCH
    assert sum(line.startswith("#SBATCH") for line in lines) == len(OF_SBATCH), "a line that does not parse is none for sbatch"
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(number < first_command for number, line in enumerate(lines) if line.startswith("#SBATCH"))


def test_a_task_has_a_gpu_and_the_signal_leaves_time_for_a_checkpoint():
    found = directives()
    assert found["gpus-per-node"] == found["ntasks-per-node"]
    name, seconds = found["signal"].split("@")
    assert getattr(signal, f"SIG{name}") == signal.SIGUSR1
    # Slurm may signal a minute early or late.
    assert int(seconds) >= 120


def test_shellcheck_finds_nothing():
    subprocess.run([Path(sys.executable).with_name("shellcheck"), "--severity=style", RECIPE], check=True)


def test_the_image_is_built_as_dockers_is():
    recipe, docker = IMAGE.read_text(), (DEPLOY.parent / "trainer" / "Dockerfile").read_text()
    sections = re.findall(r"^%(\w+)", recipe, re.MULTILINE)
    assert sections == ["files", "post", "environment", "runscript", "test", "labels"]
    assert re.search(r"^From: (\S+)", recipe, re.MULTILINE)[1] == re.search(r"^FROM (\S+)", docker, re.MULTILINE)[1]
    assert re.search(r"uv==(\S+)", recipe)[1] == re.search(r"UV_VERSION=(\S+)", docker)[1]
    taken = re.search(r"^%files\n(.*?)\n\n", recipe, re.MULTILINE | re.DOTALL)[1].split()[::2]
    assert all((DEPLOY.parent / name).exists() for name in taken)
    for option in ("--locked", "--no-dev", "--no-editable", "--package nbclip-trainer", "--extra dicom"):
        assert option in recipe, option
        assert option in docker, option
    post = re.search(r"^%post\n(.*?)\n\n", recipe, re.MULTILINE | re.DOTALL)[1]
    subprocess.run(["bash", "-n"], input=post, text=True, check=True)


SETTINGS = (*LOSSES["sm"], "epochs=60", "checkpoint.every_minutes=null", "checkpoint.every=1000")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("slurm") / "data")


def environment(pairs, run):
    """Variables of the job; settings as words without a space in them."""
    settings = (setting.partition("=") for setting in overrides(pairs, *SETTINGS) if not setting.startswith("data.files"))
    values = {key: json.dumps(yaml.safe_load(value), separators=(",", ":")) for key, _, value in settings}
    options = " ".join(f"--set {key}={value}" for key, value in values.items())
    return {"RUN": str(run), "DATA": str(pairs), "PRESET": "tiny-nbclip", "TRAIN_OPTIONS": options, "PAUSE": "0"}


def steps(run):
    return [record["step"] for record in read_metrics(run) if record["kind"] == "train"]


def unbroken(world, pairs, folder):
    return train(load_config("tiny-nbclip", overrides(pairs, *SETTINGS)), folder, world=world).finished


@pytest.mark.slow
def test_a_job_whose_time_is_up_queues_itself_again_and_ends_as_if_it_had_not(pairs, tmp_path):
    slurm, variables = FakeSlurm(tmp_path / "slurm"), environment(pairs, tmp_path / "run")
    first = slurm.start(RECIPE, variables)
    eventually(
        lambda: first.poll() is not None or ((tmp_path / "run" / "metrics.jsonl").exists() and len(steps(tmp_path / "run")) > 3),
        120,
    )
    # One rank alone: all must agree on the step.
    slurm.signal_tasks(signal.SIGUSR1, slice(1, 2))
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert len(slurm.said("requeued")) == 1
    assert "to continue: nbclip train --resume" in said
    stopped = load_checkpoint(tmp_path / "run").step
    assert 3 < stopped < 120
    second = slurm.start(RECIPE, variables, restarts=1)
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert f"on from step {stopped} of 120, cpu, 2 processes" in said
    assert len(slurm.said("requeued")) == 1, "a run that is done is not queued again"
    assert all(
        line.startswith(f"exec --nv --bind {tmp_path},{pairs.parent} nbclip-trainer.sif nbclip train")
        for line in slurm.said("apptainer")
    )
    assert run_ranks(unbroken, pairs, tmp_path / "unbroken") == [True, True]
    broken, whole = load_checkpoint(tmp_path / "run").tensors, load_checkpoint(tmp_path / "unbroken").tensors
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())
    assert steps(tmp_path / "run") == steps(tmp_path / "unbroken") == list(range(1, 121))


@pytest.mark.slow
def test_wrong_input_is_neither_tried_nor_queued_again(pairs, tmp_path):
    slurm = FakeSlurm(tmp_path / "slurm")
    job = slurm.start(RECIPE, {**environment(pairs, tmp_path / "run"), "TRAIN_OPTIONS": "--set epochs=0"})
    _, said = job.communicate(timeout=60)
    assert (job.returncode, "epochs=0: should be greater than or equal to 1" in said) == (2, True)
    assert slurm.said("requeued") == []
    assert len(slurm.said("apptainer")) == 2, "each of two tasks once"


def test_what_is_lost_on_the_way_is_tried_again_in_the_same_job(tmp_path):
    """A program in nbclip's place: away twice, then done."""
    slurm = FakeSlurm(tmp_path / "slurm", tasks=1)
    program = tmp_path / "slurm" / "bin" / "nbclip"
    program.write_text(f"#!/bin/bash\necho x >>{tmp_path}/calls; [ $(wc -l <{tmp_path}/calls) -gt 2 ] || exit 75\n")
    program.chmod(0o755)
    (tmp_path / "pairs.csv").touch()
    job = slurm.start(RECIPE, {"RUN": str(tmp_path / "run"), "DATA": str(tmp_path / "pairs.csv"), "PAUSE": "0"})
    _, said = job.communicate(timeout=60)
    assert (job.returncode, said.count("ended with status 75, going on")) == (0, 2)
    assert slurm.said("requeued") == []


@pytest.mark.parametrize("lacking", ["RUN", "DATA"])
def test_a_job_without_a_run_or_data_says_which(tmp_path, lacking):
    given = {"RUN": "/run", "DATA": "/data", lacking: ""}
    job = FakeSlurm(tmp_path / "slurm").start(RECIPE, given)
    _, said = job.communicate(timeout=60)
    assert job.returncode != 0
    assert f"{lacking}: is the" in said
