import shutil

import numpy as np
import polars as pl
import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.evaluation import probe as probing
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.evaluation.labelled import read_images
from nbclip_trainer.evaluation.probe import Lesson, probe
from nbclip_trainer.report.report import write_report
from nbclip_trainer.runs.results import ScoringProtocol, read_scored
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

PROTOCOL = ScoringProtocol(minimum_class_size=2, resamples=200)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """90 training and 45 scored images of three modalities; cases of two; a feature tells the class, with noise."""
    folder = tmp_path_factory.mktemp("probe")
    rows = [
        f"p{n},{n}.png,caption {n},{'train' if n < 90 else 'retrieval'},{('CT', 'MR', 'XR')[n % 3]},g{n // 2}" for n in range(135)
    ]
    (folder / "pairs.csv").write_text("\n".join(["image_id,file,caption,split,modality,group", *rows]))
    train, scored = (read_images([folder / "pairs.csv"], name, ()) for name in ("train", "retrieval"))
    generator = np.random.default_rng(0)
    feature = (np.eye(6)[np.arange(135) % 3] * 1.5 + generator.normal(size=(135, 6))).astype(np.float32)
    return train, scored, feature[:90], feature[90:]


def test_figures_are_scikit_learns_on_the_strength_that_was_chosen(split):
    train, scored, taught, feature = split
    found = probe(Lesson("train", "", train, {"image": taught}), {"image": feature}, scored, PROTOCOL)
    strength = found.record.strengths["modality, model"]
    scaler = StandardScaler().fit(taught)
    fitted = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(taught), np.arange(90) % 3)
    true, chances = np.arange(90, 135) % 3, fitted.predict_proba(scaler.transform(feature))
    figures = {one.metric: one for one in found.figures}
    assert figures["macro-F1"].value == pytest.approx(f1_score(true, chances.argmax(axis=1), average="macro"))
    assert figures["AUC"].value == pytest.approx(roc_auc_score(true, chances, multi_class="ovr"), abs=1e-6)
    means = found.queries.group_by("ranker", "stratum").agg(pl.col("value").mean()).group_by("ranker").agg(pl.col("value").mean())
    accuracy = dict(means.rows())
    assert accuracy == pytest.approx({"model": balanced_accuracy_score(true, chances.argmax(axis=1)), "chance": 1 / 3})
    assert accuracy["model"] > 0.6
    assert all(one.low < one.value < one.high for one in found.figures)
    assert found.record.skipped.keys() == {"organ", "modality_organ"}


def test_the_strength_is_the_best_on_held_out_cases(split):
    """Features that say nothing but by heart: the strongest regularisation is as good, and chosen among equals."""
    train, _, taught, _ = split
    classes = np.arange(90) % 3
    assert probing._strength(np.ones((90, 2)), classes, train.case) == probing.STRENGTHS[0]
    assert probing._strength(taught.astype(float), classes, train.case) in probing.STRENGTHS


def test_a_run_is_probed_before_and_after_the_projection_and_reported(runs, tmp_path):
    folders = [shutil.copytree(run, tmp_path / run.name) for run in runs]
    protocol = read_scored(runs[0]).evaluation.protocol
    for folder in folders:
        evaluate_run(folder, protocol=protocol, with_probe=True)
    scored = read_scored(folders[0])
    record = scored.evaluation.probe
    assert (record.split, record.pictures) == ("train", 48)
    assert record.skipped == {"modality_organ": "under two scored classes with 10 images of split 'train'"}, "8 of each"
    probed = [one for one in scored.evaluation.figures if one.direction == "image→class" and one.subset == "all"]
    assert {one.ranker for one in probed if one.metric == "AUC"} == {"model", "backbone", "raw pixels"}
    assert {one.ranker for one in probed if one.metric == "accuracy"} == {"model", "backbone", "raw pixels", "chance"}
    html = write_report(folders, tmp_path / "report.html").read_text()
    assert "Linear probe, before the projection" in html
    assert "macro-F1" in html


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ({"class_split": "train"}, "the run was trained on the images that are scored"),
        ({"minimum_class_size": 40}, "split 'train' has no label of a class that is scored"),
    ],
)
def test_without_labels_to_learn_from_the_probe_is_left_out_with_the_reason(runs, tmp_path, protocol, said):
    lines = []
    path = tmp_path / "out"
    evaluate_run(runs[0], protocol=ScoringProtocol(**protocol), with_probe=True, out=path, say=lines.append)
    assert f"without a linear probe: {said}" in lines
    assert set(read_scored(path).evaluation.probe.skipped.values()) == {said}


def test_a_missing_library_is_one_line(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="--probe: scikit-learn is not installed") as refused:
        evaluate_run(runs[0], with_probe=True, out=tmp_path / "out")
    assert refused.value.hint == "uv pip install 'nbclip-trainer[probe]'"
