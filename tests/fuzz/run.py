"""Fuzzes one target, or all of them, with atheris, which follows what parts of the code an input reaches.

    make fuzz                                              # every target, a minute each
    make fuzz ARGS="--targets table,linker --seconds 600"

It begins with `tests/fuzz/corpus/TARGET/`, keeps what it finds in `build/fuzz/TARGET/`, and goes on from there the next time. An
input that makes a target raise, or take over 10 seconds or 4 GiB, is kept as `build/fuzz/TARGET-crash-…` or the like, and the
status is not 0: mend its kind, and move the input to the corpus, as small as it can be, where `test_corpora.py` tries it.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

import atheris

PACKAGES = ["nbclip", "kg_service"]
with atheris.instrument_imports(include=PACKAGES):
    from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parents[2] / "build" / "fuzz"
_LIMITS = ("-timeout=10", "-rss_limit_mb=4096", "-max_len=8192")


def main() -> None:
    arguments = _arguments()
    if len(arguments.targets) == 1:
        _fuzz(arguments.targets[0], arguments.seconds)
    failed = [name for name in arguments.targets if _status_alone(name, arguments.seconds)]
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


def _status_alone(name: str, seconds: int) -> int:
    """The fuzzer ends its process."""
    return subprocess.call([sys.executable, __file__, "--targets", name, "--seconds", str(seconds)])


def _fuzz(name: str, seconds: int) -> None:
    logging.disable()
    with atheris.instrument_imports(include=PACKAGES):
        # Some modules are imported when they are needed.
        TARGETS[name](b"")
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    outputs = (f"-max_total_time={seconds}", f"-artifact_prefix={found}-", "-print_final_stats=1")
    atheris.Setup([name, *_LIMITS, *outputs, str(found), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def _names(text: str) -> list[str]:
    unknown = set(names := text.split(",")) - TARGETS.keys()
    if unknown:
        raise argparse.ArgumentTypeError(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=_names, default=list(TARGETS), metavar="NAME,NAME")
    parser.add_argument("--seconds", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    main()
