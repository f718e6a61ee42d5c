import pytest
import torch
from nbclip_trainer.optimisation.schedule import learning_rate_factor
from nbclip_trainer.optimisation.settings import OptimisationSettings
from open_clip_train.scheduler import const_lr, cosine_lr


@pytest.mark.parametrize(("schedule", "reference"), [("cosine", cosine_lr), ("constant", const_lr)])
def test_the_schedule_is_open_clips(schedule, reference):
    settings = OptimisationSettings(schedule=schedule, warmup=0.1, lr=2e-3)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
    theirs = reference(optimizer, 2e-3, 10, 100)
    for step in range(100):
        assert 2e-3 * learning_rate_factor(step, 100, settings) == pytest.approx(theirs(step))


def test_without_warm_up_the_first_step_is_at_full_rate():
    assert learning_rate_factor(0, 10, OptimisationSettings(warmup=0)) == 1
