"""Purity and change of mass: by hand on six images, and against loops on random rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclip_trainer.targets.neighbours import UNLABELLED, effective_neighbours, mass_change, neighbours_of, row_purity

SIX = np.array([
    [0.5, 0.25, 0.25, 0, 0, 0],
    [0.2, 0.6, 0, 0.2, 0, 0],
    [0, 0, 1, 0, 0, 0],
    [0.1, 0.1, 0.1, 0.5, 0.1, 0.1],
    [0.25, 0, 0.25, 0, 0.5, 0],
    [0, 0, 0, 0.3, 0.3, 0.4],
])  # fmt: skip
CLASS = np.array([0, 0, 1, 1, 0, UNLABELLED])
OWN = np.arange(6)
OTHERS = ~np.eye(6, dtype=bool)


def test_six_images_by_hand():
    found = neighbours_of(SIX, OWN, OTHERS)
    assert found.mass == pytest.approx([0.5, 0.4, 0, 0.5, 0.5, 0.6])
    assert found.distribution[0] == pytest.approx([0, 0.5, 0.5, 0, 0, 0])
    assert found.distribution[2].tolist() == [0, 0, 1, 0, 0, 0]
    purity = row_purity(found.among_others, CLASS, CLASS)
    # The fourth has a neighbour without a label, the third has no neighbours, the sixth no label.
    assert purity == pytest.approx([0.5, 0.5, math.nan, 0.25, 0.5, math.nan], nan_ok=True)
    assert row_purity(OTHERS, CLASS, CLASS) == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.5, math.nan], nan_ok=True)
    assert effective_neighbours(found) == pytest.approx([2, 2, math.nan, 5, 2, 2], nan_ok=True)


def test_mass_that_goes_elsewhere_by_hand():
    other = SIX.copy()
    other[0] = [0.4, 0, 0.3, 0.3, 0, 0]
    other[1] = [0, 1, 0, 0, 0, 0]
    other[3] = [0.02, 0.02, 0.02, 0.9, 0.02, 0.02]
    change = mass_change(neighbours_of(SIX, OWN, OTHERS), neighbours_of(other, OWN, OTHERS))
    # Half goes elsewhere; all of it where a row loses its neighbours; none where the mass is less and spread as before.
    assert change == pytest.approx([0.5, 1, math.nan, 0, 0, 0], nan_ok=True)


def test_what_may_not_be_a_neighbour_has_no_part_in_it():
    allowed = OTHERS.copy()
    allowed[0, 1] = False
    found = neighbours_of(SIX, OWN, allowed)
    assert found.mass[0] == 0.25
    assert row_purity(found.among_others, CLASS, CLASS)[0] == 0


@given(st.integers(0, 10_000))
def test_loops_over_rows_and_columns_agree(seed):
    generator = np.random.default_rng(seed)
    rows, columns = 5, 9
    own, classes = generator.permutation(columns)[:rows], generator.integers(UNLABELLED, 3, columns)
    both = [generator.dirichlet(np.full(columns, 0.3), rows) * (generator.random((rows, 1)) < 0.8) for _ in range(2)]
    allowed = (own[:, None] != np.arange(columns)) & (generator.random((rows, columns)) < 0.8)
    found = [neighbours_of(one, own, allowed) for one in both]
    purity, change = row_purity(found[0].among_others, classes[own], classes), mass_change(*found)
    for i in range(rows):
        masses = [[float(one[i, j]) if allowed[i, j] else 0.0 for j in range(columns)] for one in both]
        labelled = [j for j in range(columns) if classes[j] != UNLABELLED]
        whole = sum(masses[0][j] for j in labelled)
        same = sum(masses[0][j] for j in labelled if classes[j] == classes[own[i]])
        wanted = same / whole if whole and classes[own[i]] != UNLABELLED else math.nan
        assert purity[i] == pytest.approx(wanted, nan_ok=True)
        totals = [sum(mass) for mass in masses]
        spread = [
            [mass[j] / total if total else float(j == own[i]) for j in range(columns)]
            for mass, total in zip(masses, totals, strict=True)
        ]
        moved = sum(abs(a - b) for a, b in zip(*spread, strict=True)) / 2 if any(totals) else math.nan
        assert change[i] == pytest.approx(moved, nan_ok=True)
