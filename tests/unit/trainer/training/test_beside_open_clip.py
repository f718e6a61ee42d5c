"""Fifty steps of ours have the losses of open_clip_train's own loop, from the same weights and on the same batches."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from nbclip_trainer.config.reading import load_config

bench = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[4] / "benchmarks" / "training" / "curves.py")))
TRANSFORMER = "model.architecture.vision_cfg={image_size: 32, layers: 2, width: 16, head_width: 8, patch_size: 16}"
STEPS = 50


@pytest.mark.parametrize(
    ("tower", "double", "tolerance"),
    [([], True, 1e-10), ([TRANSFORMER], True, 1e-10), ([TRANSFORMER], False, 1e-4)],
    ids=["a ResNet in float64", "a transformer in float64", "a transformer in float32"],
)
def test_infonce_has_the_loss_curve_of_open_clip_train(small, tower, double, tolerance):
    """17 epochs of 3 steps are the whole of the schedule, warm-up and cosine.

    In float32 a ResNet's batch normalisation over eight images and Adam make more than that of any rounding.
    """
    config = load_config("tiny-clip", [*small("epochs=17"), *tower])
    found = bench.curves(config, STEPS, double=double)
    assert len(found["ours"]) == len(found["theirs"]) == STEPS
    assert found["ours"] == pytest.approx(found["theirs"], abs=tolerance)
    assert found["ours"][-1] < found["ours"][0] - 0.1, "a curve that stays where it began would agree too"
