import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.config.reading import load_config, preset_names
from nbclip_trainer.config.tree import config_hash, to_yaml


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_survives_a_round_trip(name, tmp_path):
    config = load_config(name)
    assert config.description
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "mine.yaml")) == config


def test_the_tiny_pair_differs_in_knowledge_and_loss_alone():
    clip, nbclip = load_config("tiny-clip"), load_config("tiny-nbclip")
    changed = {name for name in type(clip).model_fields if getattr(clip, name) != getattr(nbclip, name)}
    assert changed == {"description", "targets", "loss"}
    assert (clip.loss.name, clip.targets.knowledge, clip.targets.duplicates) == ("infonce", "identity", "positive")
    assert (nbclip.loss.name, nbclip.targets.knowledge, nbclip.targets.duplicates) == ("sm", "dk_ek", "positive")
    assert (nbclip.targets.neighbour_mass, nbclip.targets.effective_neighbours) == (0.5, 8)
    assert (clip.epochs, clip.batch_size, clip.optim.lr) == (10, 128, 2e-3)


def test_the_paper_preset_has_the_papers_settings():
    paper = load_config("paper")
    assert (paper.model.name, paper.model.pretrained) == ("ViT-B-16-quickgelu", "openai")
    assert (paper.optim.name, paper.optim.lr, paper.optim.schedule) == ("adam", 3e-6, "constant")
    assert (paper.epochs, paper.seed, paper.checkpoint.select) == (20, 42, "best")


@pytest.mark.parametrize(
    ("preset", "overrides", "needed"),
    [
        ("tiny-clip", [], False),
        ("tiny-nbclip", [], True),
        ("tiny-noise", [], True),
        ("tiny-noise", ["targets.noise=per_image"], False),
        ("tiny-noise", ["targets.noise=per_step"], False),
    ],
)
def test_the_service_is_needed_where_targets_come_from_it(preset, overrides, needed):
    assert load_config(preset, overrides).targets.needs_service == needed


def test_overrides_reach_any_key_and_the_last_one_wins():
    config = load_config("tiny-clip", ["optim.lr=1e-4", "optim.lr=5e-4", "model.architecture.embed_dim=64", "data.files=[a.csv]"])
    assert config.optim.lr == 5e-4
    assert config.model.architecture.embed_dim == 64
    assert config.model.architecture.text_cfg.width == 128
    assert [str(path) for path in config.data.files] == ["a.csv"]


def test_a_file_extends_a_preset_or_a_file_beside_it(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: tiny-nbclip\nseed: 7\ntargets: {neighbour_mass: 0.1}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nepochs: 3\n")
    config = load_config(str(tmp_path / "mine.yaml"))
    assert (config.seed, config.epochs, config.targets.neighbour_mass, config.targets.knowledge) == (7, 3, 0.1, "dk_ek")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("targets.knowlege=dk", r"unknown key 'targets.knowlege', did you mean 'knowledge'\?"),
        ("sede=1", r"unknown key 'sede', did you mean 'seed'\?.*epochs"),
        ("model.architecture.vision_cfg.depth=1", r"unknown key 'model.architecture.vision_cfg.depth'.*layers"),
        ("targets.knowledge=umls", r"targets.knowledge='umls': should be 'identity', 'noise', 'dk', 'dk_ek' or 'labels'"),
        ("optim.lr=-1", r"optim.lr=-1: should be greater than 0"),
        ("optim.lr=fast", r"optim.lr='fast': should be a valid number"),
        ("targets.neighbour_mass=1.5", r"targets.neighbour_mass=1.5: should be less than or equal to 1"),
        ("model.architecture.vision_cfg.layers=[1, 2]", r"model.architecture.vision_cfg.layers"),
        ("loss.name=infonce", r"infonce takes no knowledge"),
        ("targets.schedule.temperature=0.1", r"targets.schedule.temperature needs targets.temperature"),
        ("targets={temperature: 0.1, schedule: {effective_neighbours: 4}}", r"says nothing where targets.temperature is given"),
        ("targets={form: paper-literal, schedule: {neighbour_mass: 0}}", r"paper-literal has a temperature alone"),
        ("data.pictures=cache", r"data.pictures=cache and data.cache=FOLDER belong together"),
        ("data.cache=pixels", r"data.pictures=cache and data.cache=FOLDER belong together"),
        ("data=3", r"data=3: should be a valid dictionary"),
        ("seed", r"--set 'seed' is not key=value"),
        ("data.files=[a", r"the value is not YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_key_value_and_choices(override, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        load_config("tiny-nbclip", [override])
    assert "\n" not in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.valid_split=null", "validation.patience=3"], r"validation.patience=3 needs a validation split"),
        (["data.valid_split=null", "validation.every=50"], r"validation.every=50 needs a validation split"),
        (["validation.retrieval=false"], r"checkpoint.best_by=recall is measured with validation.retrieval=true only"),
    ],
)
def test_a_selection_that_nothing_would_measure_is_refused(overrides, message):
    with pytest.raises(InvalidInput, match=message):
        load_config("tiny-nbclip", overrides)


def test_both_arms_have_one_rule_of_selection_and_without_validation_the_last_is_evaluated():
    rules = [load_config(name).checkpoint for name in ("tiny-clip", "tiny-nbclip", "tiny-noise", "tiny-paper-literal")]
    assert {(rule.select, rule.best_by) for rule in rules} == {("best", "recall")}
    assert {load_config(name).checkpoint.best_by for name in ("paper", "paper-clip", "paper-literal")} == {"loss"}
    assert load_config("tiny-clip").selected == "best"
    assert load_config("tiny-clip", ["data.valid_split=null"]).selected == "last"


MORE = (("seed: 1\nseed: 2\n", "'seed' is there twice.*line 2"), ("extends: [tiny-clip]\n", "is not the name of a preset"))


def test_a_preset_that_is_not_there_or_no_mapping_or_circular_is_refused(tmp_path):
    with pytest.raises(NotFound, match="tiny-nclip") as refused:
        load_config("tiny-nclip")
    assert "tiny-nbclip" in refused.value.hint
    for text, message in (("- 1\n", "not a mapping"), ("a: [", "not YAML"), ("extends: loop.yaml\n", "extends itself"), *MORE):
        (tmp_path / "loop.yaml").write_text(text)
        with pytest.raises(InvalidInput, match=message):
            load_config(str(tmp_path / "loop.yaml"))


def test_the_hash_sees_what_shapes_the_weights_and_not_where_things_lie():
    plain = config_hash(load_config("tiny-clip"))
    for free in ("service.url=http://x", "data.files=[b.csv]", "device.threads=1", "checkpoint.keep=9", "log.every=5"):
        assert config_hash(load_config("tiny-clip", [free])) == plain
    for shaping in ("seed=1", "optim.lr=1", "augmentation.shift=0", "epochs=11", "data.train_split=valid"):
        assert config_hash(load_config("tiny-clip", [shaping])) != plain


def test_small_trains_heads_on_features_computed_once_and_small_unlocked_more():
    """The arms share cached features, and differ in their targets and loss alone: logit scale and learning rate are one."""
    small, clip, nbclip, noise, unlocked = (
        load_config(f"small{name}") for name in ("", "-clip", "-nbclip", "-noise", "-unlocked")
    )
    assert all(config.towers_repeat and config.data.features for config in (small, clip, nbclip, noise))
    for config in (nbclip, noise):
        assert config.model_dump(exclude={"description", "targets", "loss"}) == clip.model_dump(
            exclude={"description", "targets", "loss"}
        )
    assert clip.model.architecture == small.model.architecture
    assert not clip.model.logit_scale_trains
    assert (unlocked.data.features, unlocked.augmentation.views) == (None, None)
    assert [tower.unlocked for _, tower in unlocked.model.towers()] == [2, 2]
    assert unlocked.model.architecture == small.model.architecture
