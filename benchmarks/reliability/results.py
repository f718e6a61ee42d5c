"""What tests have said of a row: counts and figures, from pytest's JUnit XML, and how a table shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

_LONGEST = "longest "


@dataclass(frozen=True, slots=True)
class Result:
    """A row as it was run last; `seconds` by the clock, `failed` names tests and commands, or says that time was up."""

    name: str
    what: str
    figure: str
    limit: str
    seconds: int
    passed: bool
    failed: tuple[str, ...]
    date: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def read_properties(report: Path) -> tuple[dict[str, float], list[str]]:
    """Figures of all test cases, with their number as `tests`, and the names of those that failed.

    A property whose name begins with "longest" is the largest of all, another one their sum; but where cases are runs of one test
    with other seeds, that do the same again, each shows its own, and so the smallest counts.
    """
    values: dict[str, list[float]] = defaultdict(list)
    tests, failed = 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        tests += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(case.get("name", ""))
        for each in case.iter("property"):
            values[each.get("name", "")].append(float(each.get("value", "nan")))
    return {"tests": tests, **{name: _together(name, of) for name, of in values.items()}}, failed


def _together(name: str, values: Sequence[float]) -> float:
    return max(values) if name.startswith(_LONGEST) else min(values) if name.startswith("damaged") else sum(values)


def figure_of(properties: Mapping[str, float]) -> str:
    """Such as `50 kills, longest start 2.1 s`; what is longest comes last."""
    names = sorted(properties, key=lambda name: name.startswith(_LONGEST))
    return ", ".join(_shown(name, properties[name]) for name in names)


def _shown(name: str, value: float) -> str:
    if name.startswith(_LONGEST):
        what, _, unit = name.partition(", ")
        return f"{what} {value:.3g} {unit}"
    return "1 test" if (name, value) == ("tests", 1) else f"{value:,.0f} {name}"


def limit_of(least: Mapping[str, int]) -> str:
    """What there must be."""
    if len(least) > 2 and len(set(least.values())) == 1:
        return f"≥ {min(least.values()):,} of each"
    return ", ".join(f"≥ {count:,} {name}" for name, count in least.items())


def too_few(properties: Mapping[str, float], least: Mapping[str, int]) -> list[str]:
    """What there is less of than there must be."""
    return [f"{properties.get(name, 0):g} {name}" for name, count in least.items() if properties.get(name, 0) < count]


def table(results: Iterable[Result]) -> Iterator[str]:
    """Markdown."""
    yield "| row | what | measured | at least | seconds | passed | run on |"
    yield "| --- | --- | --- | --- | ---: | --- | --- |"
    for each in results:
        passed = "yes" if each.passed else f"**no**: {', '.join(each.failed[:3])}"
        yield f"| {each.name} | {each.what} | {each.figure} | {each.limit} | {each.seconds} | {passed} | {each.date} |"
