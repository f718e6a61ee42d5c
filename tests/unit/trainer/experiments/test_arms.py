import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.experiments.arms import CLIP, DK, DK_EK, MSE, NOISE, PAIRS, SIGMOID, TABLES, arm_config
from nbclip_trainer.experiments.plan import seeds_of
from nbclip_trainer.runs.folder import flattened


@pytest.mark.parametrize("preset", ["mini", "paper"])
@pytest.mark.parametrize(
    ("arm", "differs"),
    [
        (NOISE, {"targets.knowledge": "noise"}),
        (DK, {"targets.knowledge": "dk"}),
        (MSE, {"loss.name": "mse"}),
        (SIGMOID, {"loss.name": "sigmoid_soft"}),
    ],
)
def test_an_arm_differs_from_nb_clip_in_what_the_table_names_and_in_nothing_else(preset, arm, differs):
    reference, config = (dict(flattened(arm_config(preset, one, 1, ()).model_dump(mode="json"))) for one in (DK_EK, arm))
    # Parameters of a loss come with it.
    changed = {key: value for key, value in config.items() if key in reference and reference[key] != value}
    assert changed == differs


def test_an_arm_stays_itself_whatever_all_arms_are_given():
    config = arm_config("mini", DK, 7, ("targets.knowledge=dk_ek", "epochs=3", "seed=1"))
    assert (config.targets.knowledge, config.epochs, config.seed) == ("dk", 3, 7)


def test_clip_is_the_baseline_without_knowledge():
    config = arm_config("mini", CLIP, 1, ())
    assert (config.targets.knowledge, config.loss.name, config.targets.duplicates) == ("identity", "infonce", "ignore")


def test_every_row_has_the_papers_twelve_figures_and_every_comparison_is_of_its_table():
    assert all(len(arm.paper) == 12 for arms in TABLES.values() for arm in arms)
    assert all(set(pair) <= set(TABLES[name]) for name, pairs in PAIRS.items() for pair in pairs)


def test_the_papers_knowledge_order_is_what_it_states():
    assert all(first >= second for first, second in zip(DK_EK.paper, NOISE.paper, strict=True))


@pytest.mark.parametrize("text", ["", "1,1", "a", "-1", "1,,2"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(InvalidInput, match="distinct whole numbers"):
        seeds_of(text)
    assert seeds_of("3,1") == [3, 1]
