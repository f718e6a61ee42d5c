"""Every acceptance row with its full counts, into docs/reliability.md and docs/reliability/nightly.json.

    make nightly                                # all rows, two to three hours
    make nightly ARGS="--rows R3,R9"            # these; the others stay as they were run last

Each row is a run of pytest with NBCLIP_NIGHTLY=1, or a command of the Makefile, with a time limit. What a row measured is what
its tests recorded. Ends with 1 if a row fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from page import write_between
from results import Result, figure_of, limit_of, read_properties, table, too_few
from rows import ROWS, Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "docs" / "reliability" / "nightly.json"
SOAK = ROOT / "docs" / "reliability" / "soak.json"


def main() -> None:
    arguments = _arguments()
    found = []
    for row in ROWS:
        if row.name not in arguments.rows:
            continue
        print(f"{row.name}: {row.what}", flush=True)
        found.append(_run(row))
        print("\n".join([*table(found[-1:]), ""]), flush=True)
        _write(found[-1])
    print("\n".join(table(found)))
    raise SystemExit(0 if all(result.passed for result in found) else 1)


def _run(row: Row) -> Result:
    begun, begun_at, failed, properties = time.monotonic(), time.time(), [], {}
    with tempfile.TemporaryDirectory(prefix="nbclip-nightly-") as scratch:
        report, commands = Path(scratch) / "report.xml", list(row.commands)
        if row.tests:
            commands.insert(0, (sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *row.tests))
        for command in commands:
            left_s = row.limit_s - (time.monotonic() - begun)
            if trouble := _trouble(command, left_s):
                failed.append(trouble)
        if report.exists():
            properties, tests = read_properties(report)
            failed = [*tests, *failed]
    figure = figure_of(properties) if row.tests else _soak_figure(since=begun_at)
    return Result(
        row.name,
        row.what,
        figure,
        limit_of(row.least),
        round(time.monotonic() - begun),
        not failed and not too_few(properties, row.least),
        (*failed, *too_few(properties, row.least)),
        f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _trouble(command: Sequence[str], limit_s: float) -> str:
    """Runs a command, with all that it starts in a group of its own; why it did not end well, empty if it did."""
    name = " ".join(Path(part).name for part in command[:3])
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"NBCLIP_NIGHTLY": "1"}, start_new_session=True) as process:
        try:
            status = process.wait(max(1.0, limit_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{name}: time was up"
    return f"{name}: status {status}" if status else ""


def _soak_figure(since: float) -> str:
    """What the load of this run wrote; an earlier one's file says nothing of it."""
    if not SOAK.exists() or SOAK.stat().st_mtime < since:
        return "nothing"
    report = json.loads(SOAK.read_text())
    return f"{report['minutes']:g} minutes; " + "; ".join(f"{check['what']}: {check['figure']}" for check in report["checks"])


def _write(result: Result) -> None:
    """Into file and page, among the rows that were run before."""
    held = {row["name"]: Result(**row) for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    held[result.name] = result
    results = [held[row.name] for row in ROWS if row.name in held]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([each.as_dict() for each in results], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_between("nightly", "\n".join(table(results)), PAGE)


def _names(text: str) -> list[str]:
    unknown = set(names := text.split(",")) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {', '.join(sorted(unknown))}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=_names, default=[row.name for row in ROWS], metavar="R1,R2")
    return parser.parse_args()


if __name__ == "__main__":
    main()
