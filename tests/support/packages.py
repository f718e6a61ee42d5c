"""The three distributions: built as `make dist` builds them, and installed where nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"nbclip": "shared", "nbclip-kg-service": "kg_service", "nbclip-trainer": "trainer"}
"""The folder of each, by its name."""
WHEN = "1750000000"
"""SOURCE_DATE_EPOCH of builds in the tests; `make dist` takes the time of the last commit."""


def uv(*arguments: object, cwd: Path = ROOT, **variables: str) -> str:
    """Runs uv, the one that runs the tests or the Makefile's; what it printed."""
    command = os.environ.get("UV") or shutil.which("uv", path=f"{os.environ['PATH']}:{ROOT}/.tools/uv/bin")
    assert command, "uv is neither on the PATH nor in .tools/uv: make test fetches it"
    done = subprocess.run([command, *map(str, arguments)], cwd=cwd, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(root: Path, out: Path, *options: str, **variables: str) -> dict[str, Path]:
    """Builds wheels and sdists of the workspace in a folder; the files by their names."""
    variables = {"SOURCE_DATE_EPOCH": WHEN} | variables
    uv("build", "--all-packages", "--no-create-gitignore", "--quiet", "--out-dir", out, *options, cwd=root, **variables)
    return {path.name: path for path in sorted(out.iterdir())}


def install(wheels: Path, environment: Path) -> Path:
    """Makes an environment of the wheels and of what they ask for, in the versions of uv.lock; its folder of commands.

    uv links what its cache holds. At last the wheels' own metadata is resolved, with nothing but that to choose from.
    """
    lock = environment.parent / f"pylock.{environment.name}.toml"
    left_out = [option for name in (_cuda() if "+cpu" in version("torch") else ()) for option in ("--no-emit-package", name)]
    options = ("--locked", "--all-packages", "--no-dev", "--no-emit-workspace", "--format", "pylock.toml")
    uv("export", "--quiet", *options, *left_out, "--output-file", lock)
    uv("venv", "--quiet", "--python", sys.executable, environment)
    into = ("--quiet", "--python", environment)
    uv("pip", "sync", *into, "--preview-features", "pylock", lock)
    if left_out:
        uv("pip", "install", *into, "--torch-backend", "cpu", *(f"{name}=={version(name)}" for name in ("torch", "torchvision")))
    uv("pip", "install", *into, "--no-index", "--find-links", wheels, "nbclip-trainer", "nbclip-kg-service")
    uv("pip", "check", *into)
    return environment / "bin"


def _cuda() -> list[str]:
    """What `make setup TORCH=cpu` leaves out, or replaces."""
    locked = re.findall(r'^name = "((?:nvidia|cuda)-[^"]+)"', (ROOT / "uv.lock").read_text(), re.MULTILINE)
    return ["torch", "torchvision", "triton", *locked]
