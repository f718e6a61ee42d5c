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
NEWEST_POM = Path(__file__).with_name("newest.xml")
JAVA_OF_NEWEST = 21
_INSTALLED = Path("/usr/lib/jvm")


def find_java(oldest: int = OLDEST_JAVA) -> str:
    """The path of `java`, from JAVA_HOME or else from PATH.

    Raises:
        Unobtainable: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        where = f"{home}/bin (JAVA_HOME)" if home else "PATH"
        raise Unobtainable(f"no java in {where}; {oldest} or newer is needed")
    if _version(java) < oldest:
        raise Unobtainable(f"{java} is not Java {oldest} or newer")
    return java


def find_java_of_newest() -> str | None:
    """As `find_java` for the newest Neo4j, or one that Debian has installed beside; None if there is none."""
    try:
        return find_java(JAVA_OF_NEWEST)
    except Unobtainable:
        installed = sorted(map(str, _INSTALLED.glob("*/bin/java")))
        return next((java for java in installed if _version(java) >= JAVA_OF_NEWEST), None)


def newest_can_be_had() -> bool:
    """Whether this machine has what the newest Neo4j takes: a Java, and its jars or Maven."""
    return bool(find_java_of_newest() and (cache_folder(NEWEST_POM).exists() or shutil.which("mvn")))


def _version(java: str) -> int:
    """Its feature release; 0 if it says none."""
    # It writes to standard error.
    shown = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', shown)
    return int(version[1]) if version else 0


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
