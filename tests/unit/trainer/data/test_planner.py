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
