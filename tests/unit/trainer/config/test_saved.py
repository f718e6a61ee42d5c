import pytest
import yaml
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.saved import check_same_shape, has_config, read_config, write_config


def test_settings_come_back_with_what_is_laid_over_them(tmp_path):
    config = load_config("tiny-nbclip", ["data.files=[/data/a.csv]"])
    assert not has_config(tmp_path)
    write_config(tmp_path, config)
    assert has_config(tmp_path)
    assert read_config(tmp_path) == config
    assert read_config(tmp_path, ["service.prefetch=9"]) == load_config(
        "tiny-nbclip", ["data.files=[/data/a.csv]", "service.prefetch=9"]
    )
    with pytest.raises(InvalidInput, match="did you mean 'prefetch'"):
        read_config(tmp_path, ["service.prefech=9"])


def test_a_folder_without_a_run_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(NotFound, match=r"config\.yaml"):
        read_config(tmp_path)
    for text in ("a: [", "- 1", ""):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(BrokenArtefact, match=r"config\.yaml"):
            read_config(tmp_path)


def test_a_changed_setting_is_named_with_both_values(tmp_path):
    write_config(tmp_path, load_config("tiny-clip"))
    check_same_shape(tmp_path, load_config("tiny-clip", ["service.url=http://x", "data.files=[moved.csv]"]))
    with pytest.raises(Conflict, match=r"optim.lr: 0.002 -> 0.001"):
        check_same_shape(tmp_path, load_config("tiny-clip", ["optim.lr=1e-3"]))
    with pytest.raises(Conflict, match=r"loss.mse_on: None -> 'cos'"):
        check_same_shape(tmp_path, load_config("tiny-clip", ["loss.name=mse"]))


@pytest.mark.parametrize("others", [{"mse_on": "cos", "threshold": 0.5}, {"mse_on": "prob", "threshold": -0.1}])
def test_a_run_of_0_1_0_is_read_whatever_other_losses_were_told(tmp_path, others):
    """0.1.0 wrote all parameters of all losses, and ignored those that were not its loss's."""
    config = load_config("tiny-nbclip", ["loss.name=sigmoid_fff", "loss.threshold=0.2"])
    tree = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    tree["loss"] = {"name": "sigmoid_fff", "diagonal_weight": None, **others, "threshold": 0.2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    assert read_config(tmp_path) == config
    check_same_shape(tmp_path, config)


def test_a_run_that_began_before_there_was_a_choice_resizes_as_it_did(tmp_path):
    config = load_config("tiny-clip")
    tree = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    del tree["data"]["resize"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    assert read_config(tmp_path) == load_config("tiny-clip", ["data.resize=pillow"])
    with pytest.raises(Conflict, match=r"data\.resize: 'pillow' -> 'torch'"):
        check_same_shape(tmp_path, config)
