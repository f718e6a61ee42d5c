"""The judge of a soak: what passes, and each way of failing."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks" / "reliability"
judge = SimpleNamespace(**runpy.run_path(str(FOLDER / "judge.py"), run_name="judge"))
BESIDE = judge.Beside(jobs=3, rows=300, publications=20, repeated=50, different=0)
PROCESS = judge.Process(
    rss=300, anonymous=150, files=150, pss=200, cpu=50, descriptors=100, threads=20, children_rss=80, children_cpu=30
)


def run(seconds=100, **series):
    """Samples of a level service, but for these series of its process: functions of the second."""
    return [
        judge.Sample(second, 100, 0, 0, 5.0, 9.0, replace(PROCESS, **{name: value(second) for name, value in series.items()}))
        for second in range(seconds)
    ]


def failed(samples, beside=BESIDE):
    return {check.what for check in judge.checks(samples, beside) if not check.passed}


def test_a_level_service_passes_and_every_promise_is_looked_at():
    found = {check.what: check for check in judge.checks(run(), BESIDE)}
    assert not failed(run())
    assert set(found) == {
        "errors", "same snapshot, same ids", "ingest beside it", "publications beside it",
        "RSS", "RSS without mapped files", "descriptors",
    }  # fmt: skip
    assert found["errors"].figure == "0 of 10,000 requests"


@pytest.mark.parametrize(
    ("series", "what"),
    [
        ({"rss": lambda second: 300 + 0.4 * second}, {"RSS"}),
        ({"anonymous": lambda second: 150 + 0.15 * second}, {"RSS without mapped files"}),
        ({"descriptors": lambda second: 100 + second // 20}, {"descriptors"}),
    ],
)
def test_what_grows_is_found(series, what):
    assert failed(run(**series)) == what


@pytest.mark.parametrize(
    "series",
    [
        # Warming up ends in the first fifth.
        {"rss": lambda second: 100 if second < 18 else 300, "descriptors": lambda second: min(second * 6, 100)},
        # A publication's peak, every ten seconds.
        {
            "anonymous": lambda second: 400 if second % 10 == 9 else 150,
            "descriptors": lambda second: 100 + 30 * (second % 10 == 9),
        },
        {"rss": lambda second: 300 - 0.5 * second},
    ],
)
def test_warming_up_peaks_and_shrinking_are_no_growth(series):
    assert not failed(run(**series))


def test_one_error_one_other_answer_or_nothing_beside_it_fails():
    samples = run()
    samples[70] = replace(samples[70], errors=1)
    assert failed(samples) == {"errors"}
    assert failed(run(), replace(BESIDE, different=1)) == {"same snapshot, same ids"}
    assert failed(run(), judge.Beside(0, 0, 0, 0, 0)) == {"same snapshot, same ids", "ingest beside it", "publications beside it"}
    assert failed([replace(sample, requests=0) for sample in samples[:70]]) == {"errors"}


def test_busy_answers_are_no_errors():
    assert not failed([replace(sample, busy=3) for sample in run()])


def test_without_a_process_the_answers_are_judged_alone():
    found = judge.checks([replace(sample, process=None) for sample in run()], BESIDE)
    assert "descriptors" not in {check.what for check in found}
    assert all(check.passed for check in found)


def test_too_short_a_run_says_nothing():
    with pytest.raises(ValueError, match="19 samples"):
        judge.checks(run(19), BESIDE)


def test_fifths_are_medians_of_the_second_and_of_the_last():
    assert judge.fifths(range(10)) == (2.5, 8.5)
