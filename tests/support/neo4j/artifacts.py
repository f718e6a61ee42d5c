"""Java, and Neo4j Community as Maven Central has it: copied once into a cache that all runs share."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from support.neo4j.choice import Unobtainable

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17


def find_java() -> str:
    """The path of `java`, from JAVA_HOME or else from PATH.

    Raises:
        Unobtainable: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        where = f"{home}/bin (JAVA_HOME)" if home else "PATH"
        raise Unobtainable(f"no java in {where}; {OLDEST_JAVA} or newer is needed")
    # It writes to standard error.
    shown = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', shown)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise Unobtainable(f"{java} is not Java {OLDEST_JAVA} or newer: {shown.splitlines()[:1]}")
    return java


def find_artifacts(pom: Path = POM) -> Path:
    """The folder with the jars of a pom.xml, Neo4j's if none is given; the first time Maven downloads about 140 MB.

    Raises:
        Unobtainable: they are not there, and there is no `mvn` or it fails.
    """
    folder = cache_folder(pom)
    if not folder.exists():
        _resolve(pom, folder)
    return folder


def cache_folder(pom: Path = POM) -> Path:
    """Where the jars of a pom.xml are kept."""
    content = pom.read_bytes()
    version = ElementTree.fromstring(content).findtext(".//{*}neo4j.version")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "nbclip" / f"neo4j-{version}-{hashlib.sha256(content).hexdigest()[:8]}"


def _resolve(pom: Path, folder: Path) -> None:
    """Two runs may do this at once: the folder appears whole, and the first one counts."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unobtainable("no mvn in PATH")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
        lib = Path(scratch) / "lib"
        command = [maven, "--batch-mode", "--quiet", "--file", pom, "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={lib}", "-DincludeScope=runtime"], cwd=scratch, capture_output=True, text=True
        )
        if done.returncode:
            raise Unobtainable(f"mvn can't fetch Neo4j: {(done.stdout + done.stderr).strip()[-500:]}")
        try:
            lib.rename(folder)
        except OSError:
            if not folder.exists():
                raise
