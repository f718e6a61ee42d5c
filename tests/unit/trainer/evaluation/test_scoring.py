import numpy as np
import polars as pl
import pytest
from nbclip_trainer.evaluation.labelled import read_images
from nbclip_trainer.evaluation.scoring import Candidate, score
from nbclip_trainer.runs.results import ScoringProtocol
from sklearn.metrics import balanced_accuracy_score

LABELS = ["CT"] * 5 + ["MR"] * 3 + ["XR"] * 2 + ["NM"] + [""]


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"p{number},{number}.png,caption {number},retrieval,{label}" for number, label in enumerate(LABELS)]
    path.write_text("\n".join(["image_id,file,caption,split,modality", *rows]))
    return read_images([path], "retrieval", [])


def test_zero_shot_is_scikit_learns_balanced_accuracy_over_the_classes_that_are_asked_for(images):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(len(LABELS), 4)).astype(np.float32)
    names, seen = ["CT", "MR", "XR"], []
    text = generator.normal(size=(3, 4)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)

    def encode(texts):
        seen.extend(texts)
        return np.stack([text[["CT", "MRI", "X-ray"].index(sentence)] for sentence in texts])

    candidate = Candidate("model", image, image, encode_texts=encode, with_chance=True)
    queries = score(candidate, images, ScoringProtocol(class_ks=(1,), minimum_class_size=2, prompts=("{}",)))
    zero_shot = queries.filter(direction="image→text", metric="accuracy")
    assert seen == ["CT", "MRI", "X-ray"] * 2
    of_one_template = queries.filter(direction="image→text", metric="ensemble accuracy")
    assert of_one_template["value"].to_list() == zero_shot["value"].to_list()
    asked = [number for number, label in enumerate(LABELS) if label in names]
    expected = balanced_accuracy_score(
        [LABELS[number] for number in asked], [names[best] for best in (image[asked] @ text.T).argmax(axis=1)]
    )
    means = zero_shot.group_by("ranker", "stratum").agg(pl.col("value").mean()).group_by("ranker").agg(pl.col("value").mean())
    assert dict(means.rows()) == pytest.approx({"model": expected, "chance": 1 / 3})
    assert 0 < expected < 1
