import itertools

import numpy as np
import pytest
from nbclip_trainer.evaluation.labelled import read_images
from nbclip_trainer.evaluation.pairs import MEDIAN_RANK, pair_chance, pair_figures
from nbclip_trainer.evaluation.ranking import first_right
from nbclip_trainer.evaluation.scoring import Candidate, score
from nbclip_trainer.evaluation.summary import summarise
from nbclip_trainer.runs.results import ScoringProtocol

KS = (1, 5, 10)


@pytest.fixture(scope="module")
def task():
    """60 pairs with 40 different captions; features are coarse, so that many cosines are equal."""
    generator = np.random.default_rng(3)
    image, caption = generator.integers(-2, 3, (2, 60, 3)).astype(np.float32)
    return image, caption, generator.integers(0, 40, 60)


def naive_rank(query, gallery, key):
    """By sorting, one query at a time."""
    cosine = query.astype(int) @ gallery.astype(int).T
    ranks = []
    for number in range(len(query)):
        order = sorted(range(len(gallery)), key=lambda g: (-cosine[number, g], g))
        ranks.append(1 + next(place for place, g in enumerate(order) if key[g] == key[number]))
    return ranks


@pytest.mark.parametrize("chunk", [7, 512])
def test_the_first_right_item_has_the_rank_that_sorting_gives_it(task, chunk):
    image, caption, key = task
    assert first_right(image, caption, key, key, chunk=chunk).tolist() == naive_rank(image, caption, key)
    assert first_right(caption, image, key, key, chunk=chunk).tolist() == naive_rank(caption, image, key)


def test_recall_agrees_with_ranxs_hit_rate_per_query(task, ranx_scores):
    image, caption, key = task
    cosine = image.astype(int) @ caption.astype(int).T
    judgements = {f"q{q}": {f"g{g}": 1 for g in range(60) if key[g] == key[q]} for q in range(60)}
    # A little less for each place in the gallery: ranx leaves the order of ties open.
    run = {f"q{q}": {f"g{g}": float(cosine[q, g] - g / 1000) for g in range(60)} for q in range(60)}
    expected = ranx_scores(judgements, run, [f"hit_rate@{k}" for k in KS])
    figures = pair_figures(first_right(image, caption, key, key), KS)
    for k in KS:
        assert {f"q{q}": value for q, value in enumerate(figures[f"Recall@{k}"])} == expected[f"hit_rate@{k}"]


def test_equal_captions_are_right_for_each_others_images():
    image = np.eye(3, dtype=np.float32)
    caption = image[[1, 0, 2]]
    assert first_right(image, caption, np.arange(3), np.arange(3)).tolist() == [2, 2, 1]
    same = np.array([5, 5, 7])
    assert first_right(image, caption, same, same).tolist() == [1, 1, 1]


def test_features_that_are_all_alike_retrieve_as_chance_does():
    alike, key = np.ones((50, 2), np.float32), np.arange(50)
    figures = pair_figures(first_right(alike, alike, key, key), KS)
    chance = pair_chance(np.ones(50, np.int64), 50, KS)
    assert {name: value.mean() for name, value in figures.items()} == pytest.approx(
        {name: value.mean() for name, value in chance.items()}
    )


@pytest.mark.parametrize("right", [[0], [0, 3], [1, 2, 4], [0, 1, 2, 3, 4]])
def test_chance_is_the_mean_over_every_order_of_the_gallery(right):
    first = [1 + min(order.index(item) for item in right) for order in itertools.permutations(range(5))]
    expected = {name: value.mean() for name, value in pair_figures(np.array(first), (1, 2, 5, 9)).items()}
    chance = pair_chance(np.array([len(right)]), 5, (1, 2, 5, 9))
    assert {name: value[0] for name, value in chance.items()} == pytest.approx(expected)


def pairs_of(tmp_path, captions, **columns):
    path = tmp_path / "pairs.csv"
    rows = [",".join([f"p{number}", f"{number}.png", caption, "retrieval", *(values[number] for values in columns.values())])
            for number, caption in enumerate(captions)]  # fmt: skip
    path.write_text("\n".join([",".join(["image_id", "file", "caption", "split", *columns]), *rows]))
    return read_images([path], "retrieval", [])


def test_pairs_need_no_label_and_an_image_of_the_same_case_is_a_candidate(tmp_path):
    images = pairs_of(tmp_path, ["one", "two", "two  ", "three"], group=["g", "g", "h", "i"])
    image = np.eye(4, dtype=np.float32)
    caption = image[[1, 0, 2, 3]]
    queries = score(Candidate("model", image, caption, with_chance=True), images, ScoringProtocol(recall_ks=(1,)))
    assert set(queries["task"]) == {"pair"}
    found = queries.filter(ranker="model", direction="image→caption", metric=MEDIAN_RANK)
    assert dict(found.select("query", "value").rows()) == {"p0": 2, "p1": 2, "p2": 1, "p3": 1}
    chance = queries.filter(ranker="chance", direction="image→caption", metric="Recall@1")
    assert dict(chance.select("query", "value").rows()) == {"p0": 1 / 4, "p1": 2 / 4, "p2": 2 / 4, "p3": 1 / 4}
    assert score(Candidate("raw pixels", image), images, ScoringProtocol()).is_empty()


def test_the_table_has_the_mean_of_recalls_and_the_median_of_ranks(tmp_path, task):
    image, caption, _ = task
    images = pairs_of(tmp_path, [f"caption {number % 45}" for number in range(60)])
    queries = score(Candidate("model", image, caption), images, ScoringProtocol(recall_ks=(5,), resamples=200))
    figures = {(one.direction, one.metric): one for one in summarise(queries, ScoringProtocol(resamples=200))}
    rank = np.array(naive_rank(caption, image, images.caption_key))
    recall, median = (figures["caption→image", metric] for metric in ("Recall@5", MEDIAN_RANK))
    assert recall.value == pytest.approx((rank <= 5).mean())
    assert median.value == np.median(rank)
    assert recall.low < recall.value < recall.high
    assert median.low <= median.value <= median.high
    assert (median.queries, median.classes) == (60, 1)
