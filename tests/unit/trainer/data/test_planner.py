import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclip.errors import InvalidInput
from nbclip_trainer.data.planner import BatchPlan

plans = st.builds(BatchPlan, st.integers(6, 40), st.integers(2, 6), st.integers(1, 4), st.integers(0, 99))


@given(plans)
def test_each_epoch_takes_every_row_at_most_once_in_full_batches(plan):
    batches = list(plan.batches())
    assert [batch.step for batch in batches] == list(range(plan.steps))
    for epoch in range(plan.epochs):
        rows = np.concatenate([batch.rows for batch in batches if batch.epoch == epoch])
        assert len(set(rows.tolist())) == len(rows) == plan.rows // plan.batch_size * plan.batch_size


@given(plans, st.data())
def test_starting_anywhere_gives_the_same_batches_from_there(plan, data):
    first = data.draw(st.integers(0, plan.steps))
    rest = [batch.rows.tolist() for batch in plan.batches(first)]
    assert rest == [batch.rows.tolist() for batch in plan.batches()][first:]


def test_epochs_and_seeds_have_other_orders():
    orders = {tuple(batch.rows) for seed in (1, 2) for batch in BatchPlan(20, 20, 3, seed).batches()}
    assert len(orders) == 6


def test_data_that_fill_no_batch_are_refused():
    with pytest.raises(InvalidInput, match="3 training pairs do not fill a batch of 4"):
        BatchPlan(3, 4, 1, 0)


@st.composite
def plans_with_bad_rows(draw):
    plan = draw(plans)
    bad = draw(st.sets(st.integers(0, plan.rows - 1), max_size=plan.rows - plan.batch_size))
    return plan, bad


@given(plans_with_bad_rows())
def test_no_batch_has_a_bad_row_and_good_ones_keep_their_places(case):
    plan, bad = case
    for whole, batch in zip(plan.batches(), plan.batches(0, lambda: bad), strict=True):
        rows = batch.rows.tolist()
        assert not bad & set(rows)
        assert len(set(rows)) == plan.batch_size
        assert all(row == before for row, before in zip(rows, whole.rows.tolist(), strict=True) if before not in bad)


@given(plans_with_bad_rows(), st.data())
def test_finding_bad_rows_when_their_turn_comes_gives_the_batches_of_having_known_them(case, data):
    """Whatever was known at first: a row is found when it is about to be used, and the batch is planned anew."""
    plan, bad = case
    known = data.draw(st.sets(st.sampled_from(sorted(bad)))) if bad else set()
    for step in range(plan.steps):
        while found := set(plan.batch(step, known).rows.tolist()) & bad:
            known |= found
        assert plan.batch(step, known).rows.tolist() == plan.batch(step, bad).rows.tolist()


def test_the_next_good_row_of_the_order_stands_in():
    plan = BatchPlan(7, 3, 1, 0)
    order = np.random.default_rng((0, 0)).permutation(7).tolist()
    bad = {order[1], order[3]}
    assert plan.batch(0, bad).rows.tolist() == [order[0], order[4], order[2]]
    assert plan.batch(1, bad).rows.tolist() == [order[6], order[4], order[5]]


def test_good_rows_that_fill_no_batch_are_refused():
    with pytest.raises(InvalidInput, match="3 training pairs whose images can be decoded do not fill a batch of 4"):
        BatchPlan(5, 4, 1, 0).batch(0, {1, 2})
