import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.evaluation.labelled import class_sizes, class_text, read_images

HEADER = "image_id,file,caption,split,modality,organ,modality_organ,group,cuis\n"


@pytest.fixture
def data(tmp_path):
    def write(*rows, header=HEADER):
        path = tmp_path / "metadata.csv"
        path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
        return [path]

    return write


def test_each_task_has_the_rows_of_its_splits(data):
    images = read_images(
        data(
            "a,a.png,one,retrieval,CT,head,CT-head,g1,C0000001 C0000002",
            "b,b.png,two,retrieval,CT,,,g1,",
            "c,c.png,three,valid,MR,head,MR-head,,C0000003;C0000001",
            "d,d.png,four,valid,MR,head,MR-head,,",
            "e,e.png,five,train,MR,head,MR-head,,C0000001",
        ),
        "retrieval",
        ("retrieval", "valid"),
    )
    assert images.frame["image_id"].to_list() == ["a", "b", "c"]
    assert images.class_rows.tolist() == [0, 1]
    assert images.cui_rows.tolist() == [0, 2]
    assert images.cuis == ({"C0000001", "C0000002"}, set(), {"C0000003", "C0000001"})
    assert images.without_cuis == 2
    assert class_sizes(images, "modality") == {"CT": 2}
    assert class_sizes(images, "organ") == {"head": 1}


def test_an_image_without_a_group_is_its_own_case(data):
    rows = [
        "a,a.png,x,retrieval,CT,,,g1,",
        "b,b.png,x,retrieval,CT,,,g1,",
        "c,c.png,x,retrieval,CT,,,,",
        "d,d.png,x,retrieval,CT,,,,",
    ]
    case = read_images(data(*rows), "retrieval", ()).case
    assert case[0] == case[1]
    assert len(set(case)) == 3


def test_a_missing_split_is_refused_with_those_there_are(data):
    with pytest.raises(InvalidInput, match=r"no row of split 'retrieval' in .*metadata.csv. splits there are: train, valid"):
        read_images(data("a,a.png,x,train,CT,,,,", "b,b.png,x,valid,CT,,,,"), "retrieval", ())


def test_data_without_a_label_column_have_their_captions(data):
    rows = ["a,a.png,one  cell,retrieval", "b,b.png,two,retrieval", "c,c.png,one cell,retrieval"]
    images = read_images(data(*rows, header="image_id,file,caption,split\n"), "retrieval", ())
    assert images.class_rows.tolist() == [0, 1, 2]
    assert images.caption_key[0] == images.caption_key[2] != images.caption_key[1]


def test_a_split_column_that_is_missing_or_empty_is_refused(data):
    for path in (data("a,a.png,x", header="image_id,file,caption\n"), data("a,a.png,x,,CT,,,,")):
        with pytest.raises(InvalidInput, match=r"no row of split 'retrieval' in .*splits there are: none"):
            read_images(path, "retrieval", ("valid",))


def test_columns_may_be_empty_throughout(data):
    images = read_images(data("a,a.png,x,retrieval,CT,,,,", "b,b.png,x,retrieval,CT,,,,"), "retrieval", ("retrieval",))
    assert images.cuis == (frozenset(), frozenset())
    assert (len(set(images.case)), len(images.cui_rows), images.without_cuis) == (2, 0, 2)
    assert class_sizes(images, "organ") == {}


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [
        ("modality", "MR", "MRI"),
        ("organ", "face_neck", "face and neck"),
        ("modality_organ", "AN-vascular", "angiogram of the blood vessels"),
        ("modality_organ", "own_class", "own class"),
        ("modality", "OCT", "OCT"),
    ],
)
def test_classes_are_asked_for_in_words(task, name, text):
    assert class_text(task, name) == text
