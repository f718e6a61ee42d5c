import pytest
import yaml
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.experiments.reading import grid_names, read_grid

TREE = {
    "preset": "small",
    "seeds": [1, 2],
    "kg_seeds": [1, 2, 3],
    "choose": {"seeds": [101], "settings": {"epochs": [1, 2], "optim.lr": [1e-3, 1e-4]}},
    "snapshots": {"plain": {"representations": {"hybrid": {}}}, "moved": {"is_a": {"shuffled": "kg_seed"}}},
    "arms": {
        "clip": {"title": "CLIP", "paper": {"organ": {"P@5": 40.0, "P@10": 30.5}}},
        "dk": {
            "title": "DK",
            "snapshot": "plain",
            "set": ["targets.knowledge=dk"],
            "paper": {"organ": {"P@10": 31.75}, "modality": {"P@10": 50}},
        },
        "moved": {"title": "moved", "snapshot": "moved", "control": {"of": "dk", "must": "equal"}},
        "frozen": {"title": "frozen", "ranker": "backbone", "reads": "clip", "control": {"of": "all", "must": "below"}},
    },
    "comparisons": [{"first": "dk", "second": "clip", "claim": "it helps", "primary": True}],
}


@pytest.fixture
def write(tmp_path):
    def written(name="grid.yaml", text=None, **changes):
        path = tmp_path / name
        tree = {key: value for key, value in {**TREE, **changes}.items() if value is not None}
        path.write_text(text if text is not None else yaml.safe_dump(tree, sort_keys=False))
        return str(path)

    return written


def arms(**changes):
    return {name: {**arm, **changes.get(name, {})} for name, arm in TREE["arms"].items()}


def test_an_arm_has_a_kg_seed_where_its_snapshot_does(write):
    grid = read_grid(write())
    assert {name: grid.kg_seeds_of(name) for name in grid.trained} == {"clip": (None,), "dk": (None,), "moved": (1, 2, 3)}


def test_a_number_in_a_representation_can_be_the_kg_seed(write):
    recipe = {"representations": {"hybrid": {}, "transe": {"seed": "kg_seed", "epochs": 5}}}
    grid = read_grid(write(snapshots={**TREE["snapshots"], "plain": recipe}))
    assert grid.kg_seeds_of("dk") == (1, 2, 3)


def test_candidates_are_all_combinations_and_an_arms_own_take_their_place(write):
    own = {"loss.margin": [1, 2, 3, 4]}
    grid = read_grid(write(arms=arms(dk={"choose": own})))
    assert grid.candidates("clip") == [{"epochs": epochs, "optim.lr": lr} for epochs in (1, 2) for lr in (1e-3, 1e-4)]
    assert grid.candidates("dk") == [{"loss.margin": value} for value in (1, 2, 3, 4)]
    assert read_grid(write(choose=None)).candidates("clip") == [{}]


def test_the_papers_difference_is_of_what_it_gives_of_both_or_what_the_comparison_says(write):
    grid = read_grid(write())
    assert grid.paper_difference(grid.comparisons[0]) == {("organ", "P@10"): 1.25}
    said = {**TREE["comparisons"][0], "paper": {"cui": {"P@1": -3}}}
    grid = read_grid(write(comparisons=[said]))
    assert grid.paper_difference(grid.comparisons[0]) == {("cui", "P@1"): -3}


def test_a_grid_lies_over_the_one_it_extends(write):
    write()
    derived = write("derived.yaml", text="extends: grid.yaml\nseeds: [7]\narms: {dk: {title: other}}\n")
    grid = read_grid(derived)
    assert (grid.seeds, grid.arms["dk"].title, grid.arms["dk"].snapshot) == ((7,), "other", "plain")
    for name, other in (("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")):
        write(name, text=f"extends: {other}\n")
    with pytest.raises(InvalidInput, match="extends itself"):
        read_grid(write("a.yaml", text="extends: b.yaml\n"))


def test_an_arm_that_starts_from_another_chooses_nothing_and_has_no_budget(write):
    grid = read_grid(write(arms=arms(dk={"starts_from": "clip"})))
    assert grid.candidates("dk") == [{}]
    assert len(grid.candidates("clip")) == 4


def test_the_papers_form_and_its_twin_differ_in_target_and_loss_alone():
    grid = read_grid("paper-form")
    assert {arm.starts_from for name, arm in grid.trained.items() if name != "clip"} == {"clip"}
    further = {name: {one for one in arm.set if not one.startswith(("targets.", "loss."))} for name, arm in grid.trained.items()}
    assert {frozenset(settings) for name, settings in further.items() if name != "clip"} == {frozenset(further["clip_on"])}


MISTAKES = [
    ({"sedes": [1]}, r"grid .*grid.yaml: unknown key 'sedes', did you mean 'seeds'"),
    ({"arms": arms(dk={"titel": "x"})}, "unknown key 'arms.dk.titel', did you mean 'title'"),
    ({"sets": {"own": {"splt": "x"}}}, "unknown key 'sets.own.splt', did you mean 'split'"),
    ({"choose": {"by": "loos"}}, r"choose.by='loos': should be .*recall"),
    ({"preset": None}, "preset is missing"),
    ({"arms": {"clip": {"titel": "CLIP"}}}, "unknown key 'arms.clip.titel', did you mean 'title'"),
    ({"seeds": [1, 1]}, r"seeds: \[1, 1\] are not distinct"),
    ({"kg_seeds": [-1]}, r"kg_seeds: \[-1\] are not distinct whole numbers"),
    ({"choose": {"seeds": [2, 101]}}, r"choose.seeds=\[2\]: these are reported"),
    ({"choose": {"seeds": [101], "kg_seeds": [3]}}, r"choose.kg_seeds=\[3\]: these are reported"),
    ({"arms": arms(dk={"choose": {"epochs": [1, 2]}})}, r"clip 4, dk 2, moved 4"),
    ({"choose": None, "arms": arms(dk={"choose": {"epochs": [1]}})}, "arms.dk.choose: the grid has no `choose`"),
    (
        {"choose": {**TREE["choose"], "jointly": [["dk", "moevd"]]}},
        "choose.jointly='moevd': no such trained arm",
    ),
    ({"choose": {**TREE["choose"], "jointly": [["dk", "frozen"]]}}, "choose.jointly='frozen': no such trained arm"),
    ({"choose": {**TREE["choose"], "jointly": [["dk", "clip"], ["clip", "moved"]]}}, "choose.jointly: 'clip' is there twice"),
    (
        {
            "choose": {**TREE["choose"], "jointly": [["dk", "moved"]]},
            "arms": arms(moved={"choose": {"loss.margin": [1, 2, 3, 4]}}),
        },
        "arms.moved.choose: candidates of its own, and it is chosen jointly",
    ),
    ({"arms": arms(dk={"snapshot": "plian"})}, "arms.dk.snapshot='plian': no such snapshot; there are: plain, moved"),
    ({"arms": arms(frozen={"reads": "frozen"})}, "arms.frozen.reads='frozen': no such trained arm; there are: clip, dk, moved"),
    ({"arms": arms(moved={"control": {"of": "ek", "must": "equal"}})}, "arms.moved.control.of='ek': no such arm"),
    ({"arms": arms(frozen={"set": ["epochs=1"]})}, "arms.frozen: set is of an arm that is trained"),
    ({"arms": arms(dk={"starts_from": "moevd"})}, "arms.dk.starts_from='moevd': no such trained arm that starts from none"),
    ({"arms": arms(dk={"starts_from": "dk"})}, "arms.dk.starts_from='dk': no such trained arm that starts from none"),
    (
        {"arms": arms(dk={"starts_from": "clip"}, moved={"starts_from": "dk"})},
        "arms.moved.starts_from='dk': no such trained arm that starts from none; there are: clip",
    ),
    ({"arms": arms(dk={"starts_from": "frozen"})}, "arms.dk.starts_from='frozen': no such trained arm"),
    ({"arms": arms(clip={"starts_from": "moved"})}, "arms.clip.starts_from='moved': that arm has a run of each KG seed"),
    ({"arms": arms(dk={"starts_from": "clip", "choose": {"epochs": [1]}})}, "arms.dk.choose: it starts from clip"),
    ({"arms": arms(frozen={"starts_from": "clip"})}, "arms.frozen: starts_from is of an arm that is trained"),
    (
        {"choose": {**TREE["choose"], "jointly": [["dk", "clip"]]}, "arms": arms(dk={"starts_from": "clip"})},
        "choose.jointly: 'dk' starts from another arm",
    ),
    ({"arms": arms(clip={"ranker": "chance"})}, "arms.clip: ranker and reads belong together"),
    ({"arms": {**arms(), "DK 2": {"title": "x"}}}, "'DK 2' is no name"),
    ({"arms": {**arms(), "all": {"title": "x"}}}, "'all' is no name"),
    ({"comparisons": [{"first": "dk", "second": "cilp", "claim": "x", "primary": True}]}, "comparisons.0.second='cilp'"),
    ({"comparisons": [{"first": "dk", "second": "clip", "claim": "x"}]}, "exactly one is `primary: true`"),
    ({"tables": {"one": {"title": "x", "arms": ["clip", "ek"]}}}, "tables.one.arms='ek': no such arm"),
    ({"snapshots": {**TREE["snapshots"], "moved": {"is_a": {"shuffled": "seed"}}}}, "snapshots.moved.is_a.*shuffled"),
    ({"snapshots": {**TREE["snapshots"], "moved": {"relations": {"labels": ["organ"]}}}}, "snapshots.moved.relations"),
    ({"snapshots": {**TREE["snapshots"], "moved": {"concepts": {"rarest": 0}}}}, "snapshots.moved.concepts.rarest"),
    ({"endpoint": {"smallest_effect": 0}}, "endpoint.smallest_effect=0: should be greater than 0"),
]


@pytest.mark.parametrize(("changes", "says"), MISTAKES)
def test_a_mistake_is_named_with_file_key_and_value(write, changes, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        read_grid(write(**changes))
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds: [1]\nseeds: [2]\n", "'seeds' is there twice.*line 2"),
        ("arms: {dk: {title: a}, dk: {title: b}}\n", "'dk' is there twice"),
        ("seeds: [1\n", "not YAML"),
        ("- 1\n", "not a mapping"),
        ("", "not a mapping"),
        ("extends: [tables]\n", "extends=.'tables'. is not the name"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(write, text, says):
    with pytest.raises(InvalidInput, match=says):
        read_grid(write(text=text))


def test_a_grid_that_is_not_there_names_those_that_are():
    with pytest.raises(NotFound, match="no grid 'tabels'") as caught:
        read_grid("tabels")
    assert "tables" in caught.value.hint


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids_have_every_control_in_every_table(name):
    grid = read_grid(name)
    controls = {arm for arm, one in grid.arms.items() if one.control}
    assert "labels" in controls, "a ceiling that no arm may reach"
    assert all(controls <= set(table.arms) for table in grid.all_tables.values())


@pytest.mark.parametrize("name", [name for name in grid_names() if name.startswith("tables")])
def test_grids_of_the_papers_tables_hold_its_order(name):
    grid = read_grid(name)
    assert {arm for arm, one in grid.arms.items() if one.control} == {"shuffled", "labelled", "labels"}
    over_noise = next(one for one in grid.comparisons if (one.first, one.second) == ("dk_ek", "noise"))
    differences = grid.paper_difference(over_noise)
    assert len(differences) == 12
    assert min(differences.values()) > 0


def test_thin_captions_are_of_every_arm_that_has_a_graph():
    grid = read_grid("thin")
    assert {recipe.concepts.rarest for recipe in grid.snapshots.values()} == {2}
    assert grid.snapshots["shuffled"].representations == grid.snapshots["relations"].representations
    assert grid.choose.settings == read_grid("tables").choose.settings
