"""Made-up scored runs with planted effects."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

CASES, CLASSES = 240, 4


@pytest.fixture(scope="session")
def planted():
    """Observations of a grid: each arm's effect in points over a common level, with noise of seeds, KG seeds, cases and runs."""

    def make(grid, effects, *, of_seed=0.15, of_run=4.0, of_kg_seed=0.1, seed=0, shared=12.0):
        rng = np.random.default_rng(seed)
        parts = []
        for pictures in grid.sets:
            level_TC = 50 + rng.normal(0, shared, (5, CASES))
            for name, arm in grid.arms.items():
                kg_seeds = grid.kg_seeds_of(arm.reads or name)
                of_kg = rng.normal(0, of_kg_seed, len(kg_seeds))
                for kg_seed, shift in zip(kg_seeds, of_kg, strict=True):
                    for run_seed in grid.seeds:
                        own = 0.0 if arm.ranker != "model" else rng.normal(0, of_seed)
                        noise_TC = np.zeros((5, CASES)) if arm.ranker != "model" else rng.normal(0, of_run, (5, CASES))
                        value_TC = level_TC + noise_TC + effects[name] + own + (shift if len(kg_seeds) > 1 else 0)
                        parts.append(frame_of(name, run_seed, kg_seed, pictures, value_TC))
        return pl.concat(parts)

    return make


def frame_of(arm, seed, kg_seed, pictures, value_TC):
    case_C = np.arange(CASES)
    tasks = {
        "modality": ("P@5", "P@10"), "organ": ("P@5", "P@10"), "modality_organ": ("P@5", "P@10"),
        "cui": ("cui_coverage@10",), "cui_linked": ("cui_coverage@10", "cui_overlap@10"),
    }  # fmt: skip
    queries = pl.DataFrame(
        {
            "caption_source": ["radiologist" if case % 3 else "labels" for case in case_C],
            "source": ["one"] * CASES,
            "query": [f"image {case}" for case in case_C],
            "case": case_C,
        }
    )
    by_class = [f"class {case % CLASSES}" for case in case_C]
    frames = [
        queries.with_columns(
            pl.lit(task).alias("task"),
            pl.lit(metric).alias("metric"),
            pl.Series("stratum", [""] * CASES if task.startswith("cui") else by_class),
            pl.Series("value", value_C),
        )
        for value_C, (task, metrics) in zip(value_TC, tasks.items(), strict=True)
        for metric in metrics
    ]
    categories = [pl.col(name).cast(pl.Categorical) for name in ("task", "metric", "stratum", "caption_source", "source")]
    return pl.concat(frames).select(
        pl.lit(arm).cast(pl.Categorical).alias("arm"),
        pl.lit(pictures).cast(pl.Categorical).alias("set"),
        pl.lit("model").cast(pl.Categorical).alias("ranker"),
        pl.lit(seed, pl.Int64).alias("seed"),
        pl.lit(kg_seed, pl.Int64).alias("kg_seed"),
        *categories, "query", "case", "value",
    )  # fmt: skip
