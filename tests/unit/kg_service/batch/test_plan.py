import re
import shutil
from dataclasses import replace

import pytest
from kg_service.batch.differences import differences
from kg_service.batch.plan import LinkerChoice, Plan, linking_of, make_plan, read_plan, refuse_other_linking
from kg_service.batch.writing import write_plan
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from support.batches import planned


@pytest.fixture
def linking(vocabulary):
    choice, known = LinkerChoice("dictionary", DictionarySettings(), vocabulary), open_vocabulary(vocabulary)
    return linking_of(choice.open(known), choice.settings, known)


def test_the_same_files_give_the_same_plan_whose_shards_have_every_row_once(batch, vocabulary, files, tmp_path):
    _, plan = batch
    assert planned(tmp_path / "again", vocabulary, files)[1].id == plan.id
    assert planned(tmp_path / "work", vocabulary, files)[1].id == plan.id
    assert [sum(shard.span.rows for shard in plan.shards if shard.source == source) for source in range(3)] == [42, 31, 40]
    assert plan.rows == 113
    assert [plan.place(number) for number in (0, 1, 9)] == [f"{files[0]}:1-6", f"{files[0]}:7-11", f"{files[1]}:1-5"]
    assert read_plan(tmp_path / "work") == plan


def test_another_plan_for_the_folder_or_a_folder_of_something_else_is_refused(batch, vocabulary, files, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(Conflict, match="not empty"):
        planned(tmp_path / "full", vocabulary, files)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda files: {"files": files[1:]}, [r"1 file left out \(.*/a\.csv\)"]),
        (lambda files: {"files": [*files, more(files)]}, [r"1 file added \(.*/more\.csv\)"]),
        (
            lambda files: {"files": [more(files), *files[1:]]},
            [r"1 file added \(.*/more\.csv\)", r"1 file left out \(.*/a\.csv\)"],
        ),
        (lambda files: {"files": files[::-1]}, ["files in another order"]),
        (lambda files: altered(files, lambda text: text + "x,y\n"), [r"1 file changed \(.*/a\.csv\)"]),
        (lambda files: altered(files, lambda text: text.replace("never", "never"[::-1])), [r"1 file changed \(.*/a\.csv\)"]),
        (lambda files: {"shard_rows": 6}, [r"shards of up to 7 rows, now 7|shards of up to \d rows, now \d"]),
        (lambda files: {"split": "train", "relink": True}, ["--split not given, now train", "--relink no, now yes"]),
        (lambda files: {"columns": {"caption": "caption"}}, ["--column not given, now caption=caption"]),
    ],
)
def test_in_what_another_plan_differs_is_told(batch, vocabulary, files, tmp_path, change, told):
    wanted = {"files": files, **change(files)}
    with pytest.raises(Conflict, match="has another plan") as refusal:
        planned(tmp_path / "work", vocabulary, **wanted)
    named = refusal.value.message.split(" has another plan: ")[1].split("; ")
    assert len(named) == len(told), named
    for each, pattern in zip(named, told, strict=True):
        assert re.fullmatch(pattern, each)
    assert f"kg-service batch run {tmp_path / 'work'}" in refusal.value.hint


def more(files):
    path = files[0].with_name("more.csv")
    path.write_text("image_id,caption\nq,lung\n")
    return path


def altered(files, change):
    files[0].write_text(change(files[0].read_text()))
    return {}


@pytest.mark.parametrize("what", ["vocabulary", "linker", "settings", "versions"])
def test_another_way_to_link_is_told_of_two_plans(batch, linking, what):
    _, plan = batch
    other = {"vocabulary": "0" * 64, "linker": "other-1", "settings": linking.settings | {"min_score": 0.5}}
    other["versions"] = linking.versions | {"pyarrow": "1.0"}
    now = plan.model_copy(update={"linking": linking.model_copy(update={what: other[what]})})
    (told,) = differences(plan, now)
    assert re.fullmatch(rf"{what} .+, now (0{{40}}|other-1|min_score 0\.5|pyarrow 1\.0)", told)


def test_a_folder_without_a_plan_or_with_a_damaged_one_is_told(batch, tmp_path):
    _, plan = batch
    with pytest.raises(NotFound, match="batch plan"):
        read_plan(tmp_path / "none")
    for content in (b"{}", plan.content[:-30], plan.content.replace(b'"format": 1', b'"format": 2'), plan.content + b"\n"):
        (tmp_path / "work" / "plan.json").write_bytes(content)
        with pytest.raises(BrokenArtefact, match=r"plan\.json"):
            read_plan(tmp_path / "work")


def test_files_without_a_row_and_files_that_cannot_be_read_are_refused(linking, tmp_path):
    (tmp_path / "a.csv").write_text("image_id,caption\n")
    with pytest.raises(InvalidInput, match="no rows"):
        make_plan([tmp_path / "a.csv"], ReadOptions(), linking)
    (tmp_path / "b.csv").write_text("image_id,text\na,b\n")
    with pytest.raises(InvalidInput, match="no column caption"):
        make_plan([tmp_path / "b.csv"], ReadOptions(), linking)


@pytest.mark.parametrize("what", ["vocabulary", "linker", "settings", "versions"])
def test_who_would_link_otherwise_is_refused_and_told_in_what(batch, linking, what, tmp_path):
    _, plan = batch
    other = {"vocabulary": "0" * 64, "linker": "other-1", "settings": linking.settings | {"min_score": 0.5}}
    other["versions"] = linking.versions | {"pyarrow": "1.0"}
    refuse_other_linking(tmp_path, plan, linking)
    with pytest.raises(Conflict, match=rf"planned with {what} .*(1\.0|0\.5|other-1|0000)"):
        refuse_other_linking(tmp_path, plan, linking.model_copy(update={what: other[what]}))


def test_a_prior_counts_by_its_content_and_not_by_where_it_lies(vocabulary):
    known = open_vocabulary(vocabulary)
    choice = LinkerChoice("dictionary", DictionarySettings(), vocabulary)
    there = replace(choice.settings, prior=vocabulary)
    assert linking_of(choice.open(known), there, known).settings.keys() == linking_of(
        choice.open(known), choice.settings, known
    ).settings.keys() - {"prior"}


def test_a_plan_of_which_only_the_folder_was_made_can_be_written(batch, tmp_path):
    _, plan = batch
    shutil.rmtree(tmp_path / "work")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".kg-new.abc").touch()
    write_plan(tmp_path / "work", plan)
    assert Plan.model_validate_json((tmp_path / "work" / "plan.json").read_bytes()) == plan
