import shutil

import numpy as np
import polars as pl
import pytest
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.evaluation.ontology import Ontology
from nbclip_trainer.evaluation.summary import differences, summarise
from nbclip_trainer.runs.results import QUERY_COLUMNS, Evaluation, ScoringProtocol, check_comparable, read_scored
from nbclip_trainer.trained.export import model_card
from nbclip_trainer.trained.loading import load_run


@pytest.fixture(scope="module")
def scored(runs):
    return read_scored(runs[0])


def figures(evaluation, **wanted):
    return [one for one in evaluation.figures if all(getattr(one, name) == value for name, value in wanted.items())]


def test_the_record_counts_what_was_scored(scored):
    evaluation = scored.evaluation
    assert (evaluation.run, evaluation.checkpoint, evaluation.class_pictures) == ("clip", "last", 48)
    assert evaluation.cui_pictures + evaluation.without_cuis == 48
    assert evaluation.classes["modality"].scored == {"CT": 16, "MR": 16, "XR": 16}
    assert evaluation.classes["organ"].unlabelled == 0
    assert evaluation.ontology == ""
    assert not figures(evaluation, metric="cui_onto@5")


def test_each_ranker_is_scored_in_the_directions_it_has(scored):
    directions = {ranker: set(part["direction"]) for (ranker,), part in scored.queries.group_by("ranker")}
    one_side = {"image→image", "caption→caption"}
    every = one_side | {"caption→image", "image→caption", "text→image", "image→text"}
    assert directions == {"model": every, "chance": every, "backbone": one_side, "raw pixels": {"image→image"}}
    assert tuple(scored.queries.columns) == QUERY_COLUMNS


def test_chance_of_a_class_is_its_share_of_the_images_outside_of_the_case(scored):
    (figure,) = figures(scored.evaluation, ranker="chance", direction="image→image", task="modality", metric="P@1", subset="all")
    assert figure.value == pytest.approx(14 / 46)
    assert (figure.queries, figure.classes) == (48, 3)


def test_figures_are_macro_means_of_the_queries_with_an_interval_around_them(scored):
    chosen = scored.queries.filter(
        (pl.col("ranker") == "model")
        & (pl.col("direction") == "image→image")
        & (pl.col("task") == "organ")
        & (pl.col("metric") == "P@5")
    )
    (figure,) = figures(scored.evaluation, ranker="model", direction="image→image", task="organ", metric="P@5", subset="all")
    assert figure.value == pytest.approx(chosen.group_by("stratum").agg(pl.col("value").mean())["value"].mean())
    assert figure.low <= figure.value <= figure.high


def test_queries_of_one_caption_source_are_a_subset_of_all(scored):
    wanted = {"ranker": "model", "direction": "image→image", "task": "modality", "metric": "P@5"}
    count = {one.subset: one.queries for one in figures(scored.evaluation, **wanted)}
    assert count["caption_source=real"] + count["caption_source=template"] == count["all"] == 48


def test_features_stand_in_the_order_of_the_images(scored):
    assert {name: len(features) for name, features in scored.features.items()} == dict.fromkeys(
        scored.features, scored.images.height
    )
    np.testing.assert_allclose(np.linalg.norm(scored.features["image"], axis=1), 1, atol=1e-5)


def test_the_record_has_the_logit_scale_of_the_model_that_was_scored(scored, runs):
    assert scored.evaluation.logit_scale == pytest.approx(load_run(runs[0]).model.logit_scale.exp().item())


def test_a_second_evaluation_gives_the_same_figures(scored, runs, tmp_path):
    again = shutil.copytree(runs[0], tmp_path / "clip")
    evaluate_run(again, protocol=scored.evaluation.protocol)
    assert read_scored(again).evaluation == scored.evaluation


def test_an_evaluation_beside_the_runs_own_leaves_it_and_the_card_alone(scored, runs, metadata, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "clip")
    other = tmp_path / "other.csv"
    head, *rows = metadata.read_text().splitlines()
    other.write_text("\n".join([head.replace("caption,", "text,", 1), *rows[60:84]]))
    for number in range(60, 84):
        (tmp_path / f"{number}.png").symlink_to(metadata.parent / f"{number}.png")
    before, card = (run / "evaluation" / "metrics.json").read_bytes(), model_card(run, read_config(run))
    settings = {"protocol": scored.evaluation.protocol, "overrides": ["data.columns.caption=text"]}
    with pytest.raises(InvalidInput, match="the run's own evaluation is by the run's own settings") as refused:
        evaluate_run(run, [other], **settings)
    assert "--out FOLDER" in refused.value.hint
    path = evaluate_run(run, [other], out=tmp_path / "on other", **settings)
    assert path == tmp_path / "on other" / "metrics.json"
    assert Evaluation.model_validate_json(path.read_bytes()).class_pictures == 24
    assert (run / "evaluation" / "metrics.json").read_bytes() == before
    assert model_card(run, read_config(run)) == card
    for there in (tmp_path / "on other", run / "evaluation", run):
        with pytest.raises(Conflict):
            evaluate_run(run, out=there)
    shutil.rmtree(run / "evaluation")
    with pytest.raises(Conflict):
        evaluate_run(run, out=run / "evaluation")
    with pytest.raises(InvalidInput, match=r"--set epochs: an evaluation does not read it"):
        evaluate_run(run, out=tmp_path / "new", overrides=["epochs=3"])


def test_an_ontology_adds_its_figures_and_is_named(runs, scored, tmp_path):
    again = shutil.copytree(runs[0], tmp_path / "clip")
    cuis = ["C0000000", "C0000001", "C0000002", "C0000010", "C0000011"]
    everything = dict.fromkeys(cuis, cuis)
    path = evaluate_run(again, protocol=scored.evaluation.protocol, ontology=Ontology("a file", lambda cuis: everything))
    evaluation = Evaluation.model_validate_json(path.read_bytes())
    assert evaluation.ontology == "a file"
    wanted = {"ranker": "model", "direction": "image→image", "subset": "all"}
    (onto,), (overlap,) = (figures(evaluation, metric=f"cui_{name}@5", **wanted) for name in ("onto", "overlap"))
    assert onto.value == 1 > overlap.value


def test_identical_runs_differ_by_exactly_zero(scored):
    for figure in summarise(differences(scored.queries, scored.queries), scored.evaluation.protocol):
        assert figure.value in (0, None)
        assert figure.low in (0, None)
        assert figure.high in (0, None)


def test_a_missing_split_is_one_clear_line(runs):
    with pytest.raises(InvalidInput, match="no row of split 'test' in"):
        evaluate_run(runs[0], protocol=ScoringProtocol(class_split="test", cui_splits=()))


def test_what_the_data_do_not_give_is_said_and_the_pairs_are_scored(runs, tmp_path):
    said = []
    path = evaluate_run(runs[0], protocol=ScoringProtocol(cui_splits=()), out=tmp_path / "pairs", say=said.append)
    assert said[1:3] == [
        "without P@K: no class of 30 images (the largest has 24); --min-class-size lowers it",
        "without CUI@K: no CUIs in the column cuis",
    ]
    assert {one.task for one in Evaluation.model_validate_json(path.read_bytes()).figures} == {"pair"}


def test_a_single_image_is_refused(runs, metadata, tmp_path):
    other = tmp_path / "one.csv"
    head, *rows = metadata.read_text().splitlines()
    other.write_text("\n".join([head, rows[60]]))
    with pytest.raises(InvalidInput, match="split 'retrieval' has 1 image, of which every ranking is right"):
        evaluate_run(runs[0], [other], out=tmp_path / "out")


def test_pairs_stand_in_the_record_with_chance_beside_them(scored):
    captions = scored.images["caption"].to_list()
    assert scored.evaluation.distinct_captions == len(set(captions)) == 24
    wanted = {"task": "pair", "direction": "image→caption", "subset": "all"}
    (chance,) = figures(scored.evaluation, ranker="chance", metric="Recall@5", **wanted)
    assert chance.value == pytest.approx(1 - 46 * 45 * 44 * 43 * 42 / (48 * 47 * 46 * 45 * 44))
    (median,) = figures(scored.evaluation, ranker="model", metric="median rank", **wanted)
    assert 1 <= median.low <= median.value <= median.high <= 48


def test_a_folder_without_a_run_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        evaluate_run(tmp_path)


def test_runs_under_other_protocols_are_not_compared(runs, scored, tmp_path):
    again = shutil.copytree(runs[1], tmp_path / "other")
    evaluate_run(again, protocol=scored.evaluation.protocol.model_copy(update={"class_ks": (1, 4)}))
    with pytest.raises(
        InvalidInput, match=r"clip \(.*\) and other \(.*\) were evaluated on different data or by different protocols"
    ):
        check_comparable(scored, read_scored(again))


@pytest.mark.parametrize("name", ["metrics.json", "queries.parquet", "pictures.parquet", "features.npz"])
def test_a_damaged_file_is_named_as_such(runs, tmp_path, name):
    again = shutil.copytree(runs[0], tmp_path / "clip")
    (again / "evaluation" / name).write_bytes(b"damaged")
    with pytest.raises(BrokenArtefact, match="evaluation: damaged"):
        read_scored(again)
