import numpy as np
import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.targets.labels import LabelSource
from nbclip_trainer.training.session import build_session

MODALITY = ["CT", "CT", "MR", "MR", "", ""]
ORGAN = ["head", "chest", "head", "", "head", ""]


@pytest.fixture
def dataset(tmp_path):
    rows = [f"i{n},{n}.png,c{n},train,{m},{o}" for n, (m, o) in enumerate(zip(MODALITY, ORGAN, strict=True))]
    path = tmp_path / "labelled.csv"
    path.write_text("\n".join(["image_id,file,caption,split,modality,organ", *rows]))
    return read_dataset([path])


def test_similarity_is_the_share_of_columns_in_which_labels_agree(dataset):
    ids = ["i3", "i0", "i4", "i5", "i1", "i2"]
    matrix = LabelSource(dataset, ("modality", "organ")).fetch(ids[:4], ids)
    by_hand = [
        [1, 0, 0, 0, 0, 0.5],
        [0, 1, 0.5, 0, 0.5, 0.5],
        [0, 0.5, 1, 0, 0, 0.5],
        [0, 0, 0, 1, 0, 0],
    ]
    assert matrix.values.dtype == np.float32
    assert matrix.values.tolist() == by_hand
    assert matrix.has_knowledge.tolist() == [True, True, True, False, True, True]


def test_one_column_makes_it_all_or_nothing(dataset):
    source = LabelSource(dataset, ("organ",))
    ids = [f"i{number}" for number in range(6)]
    assert source.fetch(["i0"], ids).values.tolist() == [[1, 0, 1, 0, 1, 0]]
    assert source.without_knowledge == pytest.approx(2 / 6)


def test_a_column_that_is_absent_or_empty_is_refused_before_the_first_step(dataset, small, write_pairs):
    with pytest.raises(NotFound, match="no column 'modality_organ'"):
        LabelSource(dataset, ("modality_organ",))
    overrides = ("targets.knowledge=labels", "loss.name=sm")
    with pytest.raises(NotFound, match="no column 'modality'"):
        build_session(load_config("tiny-clip", small(*overrides)))
    data = write_pairs("unlabelled.csv", modality="CT", organ="")
    with pytest.raises(InvalidInput, match="no training image has a label in the column organ"):
        build_session(load_config("tiny-clip", small(*overrides, data=data)))


@pytest.mark.parametrize("columns", ["[]", "[modalities]"])
def test_other_columns_are_refused_by_the_settings(columns, small):
    with pytest.raises(InvalidInput, match=r"targets\.labels"):
        load_config("tiny-clip", small("targets.knowledge=labels", f"targets.labels={columns}", "loss.name=sm"))


def test_a_run_learns_from_labels_without_a_service(small, write_pairs):
    data = write_pairs("one-class.csv", modality="CT")
    overrides = ("targets={knowledge: labels, labels: [modality], duplicates: ignore}", "loss.name=sm")
    session = build_session(load_config("tiny-clip", small(*overrides, data=data)))
    assert session.facts["targets"] == {"knowledge": "labels", "without_knowledge": 0}
    batch = next(session.plan.batches())
    assert (session.answer(batch).values == 1).all()
