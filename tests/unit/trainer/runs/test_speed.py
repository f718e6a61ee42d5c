import pytest
from nbclip_trainer.runs.speed import speed_of

COLD = {
    "step": 1,
    "seconds": 10.0,
    "samples_per_second": 1.0,
    "data_wait": 9.0,
    "target_wait": 0.0,
    "tflops": 0.1,
    "peak_memory_gb": 1.0,
}
STEPS = [
    COLD,
    {
        "step": 2,
        "seconds": 1.0,
        "samples_per_second": 100.0,
        "data_wait": 0.1,
        "target_wait": 0.0,
        "tflops": 2.0,
        "peak_memory_gb": 3.0,
    },
    {
        "step": 3,
        "seconds": 3.0,
        "samples_per_second": 20.0,
        "data_wait": 0.3,
        "target_wait": 1.0,
        "tflops": 1.0,
        "peak_memory_gb": 3.5,
    },
]


def test_means_are_over_time_and_the_cold_first_step_is_left_out():
    found = speed_of(STEPS)
    assert found.samples_per_second == pytest.approx((100 + 60) / 4)
    assert (found.data_wait, found.target_wait) == pytest.approx((0.1, 0.25))
    assert found.tflops == pytest.approx((2 + 3) / 4)
    assert (found.mfu, found.peak_memory_gb) == (None, 3.5)
    assert str(found) == "40 samples/s, waited 10% for images, 25% for targets, 1.25 TFLOP/s, 3.5 GB"


def test_the_share_of_the_peak_is_shown_where_it_is_known():
    assert str(speed_of([{**step, "mfu": 0.4} for step in STEPS])).endswith("1.25 TFLOP/s (MFU 40%), 3.5 GB")


def test_records_of_0_1_0_have_a_speed_without_operations():
    old = [{name: value for name, value in step.items() if name not in ("tflops", "peak_memory_gb")} for step in STEPS]
    assert str(speed_of(old)) == "40 samples/s, waited 10% for images, 25% for targets"


def test_a_first_step_alone_counts_and_no_step_has_no_speed():
    assert speed_of([COLD]).samples_per_second == 1.0
    assert speed_of([]) is None


@pytest.mark.parametrize(
    ("tflops", "shown"), [(0.0204, "20.4 GFLOP/s"), (0.9996, "999.6 GFLOP/s"), (1.0, "1 TFLOP/s"), (1234.0, "1234 TFLOP/s")]
)
def test_operations_below_a_teraflop_a_second_are_shown_in_gigaflops(tflops, shown):
    assert speed_of([{**STEPS[0], "tflops": tflops}]).operations == shown
