from dataclasses import replace

import pytest
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphCounts, ImageNode, IsAEdge
from kg_service.ingest.pipeline import FIRST_PROBLEMS, ingest_file, ingest_items, link_batch
from kg_service.ingest.readers import ReadOptions
from nbclip.errors import InvalidInput
from nbclip.schemas.images import ImageItem, ItemOutcome

PNEUMONIA, EFFUSION, LUNG_DISEASE, DISEASE, UNKNOWN = "C0000001", "C0000002", "C0000003", "C0000005", "C7777777"


def node(cui, name):
    return ConceptNode(cui, name, ("T047",), "MSH")


def test_a_caption_is_linked_and_its_concepts_come_with_all_ancestors(linker, vocabulary):
    batch = link_batch([ImageItem(image_id="a", caption="pneumonia, no effusion", split="train")], linker, vocabulary)
    assert batch.images == [
        ImageNode(
            "a",
            "pneumonia, no effusion",
            (
                AttributeEdge(PNEUMONIA, "pneumonia", 0, 9, 0.9, "exact", "present", "dict-1"),
                AttributeEdge(EFFUSION, "effusion", 14, 22, 0.9, "exact", "absent", "dict-1"),
            ),
            None,
            "train",
        )
    ]
    assert batch.concepts == [
        node(PNEUMONIA, "pneumonia"),
        node(EFFUSION, "effusion"),
        node(LUNG_DISEASE, "lung disease"),
        node(DISEASE, "disease"),
    ]
    assert batch.is_a == [
        IsAEdge(PNEUMONIA, LUNG_DISEASE, "MSH"),
        IsAEdge(EFFUSION, DISEASE, "MSH"),
        IsAEdge(LUNG_DISEASE, DISEASE, "MSH"),
    ]


def test_given_cuis_are_used_as_they_are(linker, vocabulary):
    items = [
        ImageItem(image_id="a", caption="pneumonia", cuis=[UNKNOWN, EFFUSION, UNKNOWN]),
        ImageItem(image_id="b", caption="pneumonia", cuis=[]),
        ImageItem(image_id="c", caption="pneumonia"),
    ]
    batch = link_batch(items, linker, vocabulary)
    assert [[edge.cui for edge in image.attributes] for image in batch.images] == [[UNKNOWN, EFFUSION], [], [PNEUMONIA]]
    assert batch.images[0].attributes[0] == AttributeEdge(UNKNOWN, rule="given", linker="given")
    assert ConceptNode(UNKNOWN, "") in batch.concepts


def test_every_item_gets_its_outcome(store, linker, vocabulary):
    items = [
        ImageItem(image_id="a", caption="pneumonia, no effusion"),
        ImageItem(image_id="b", caption="x", cuis=[DISEASE, EFFUSION]),
    ]
    assert ingest_items(items, store, linker, vocabulary, "reject") == [
        ItemOutcome(image_id="a", outcome="created", cuis=[PNEUMONIA]),
        ItemOutcome(image_id="b", outcome="created", cuis=[EFFUSION, DISEASE]),
    ]
    changed = [ImageItem(image_id="a", caption="effusion"), items[1]]
    assert ingest_items(changed, store, linker, vocabulary, "reject") == [
        ItemOutcome(
            image_id="a", outcome="rejected", code="conflict", reason="stored before with another caption and attributes"
        ),
        ItemOutcome(image_id="b", outcome="unchanged", cuis=[EFFUSION, DISEASE]),
    ]
    assert [result.outcome for result in ingest_items(changed, store, linker, vocabulary, "replace")] == ["replaced", "unchanged"]
    assert store.image("a").caption == "effusion"


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.csv"
    rows = [f"{number:03},{'pneumonia' if number % 2 else 'no effusion'}" for number in range(100)]
    rows[10:10] = ["bad", "009,another caption", 'worse,"']
    path.write_text("\n".join(["id,caption", *rows]))
    return path


def test_a_file_is_stored_batch_by_batch_and_its_bad_rows_are_named(captions, store, linker, vocabulary):
    progress, problems = [], []
    report = ingest_file(
        captions, store, linker, vocabulary, batch_size=30, on_progress=progress.append, on_problem=problems.append
    )
    assert report.counts == {"created": 100, "rejected": 1}
    assert (report.bad_rows, report.rows, report.bytes_read) == (2, 103, report.bytes_total)
    assert report.rate > 0
    assert [str(problem).removeprefix(f"{captions}:") for problem in problems] == [
        "12: wrong number of fields: 1 where the header has 2",
        "14: not a row of fields: unexpected end of data",
        "13: image 009 rejected: stored before with another caption and attributes",
    ]
    assert report.problems == tuple(problems)
    assert [step.rows for step in progress] == [30, 60, 90, 103]
    assert store.counts() == GraphCounts(images=100, concepts=4, attributes=100, is_a=3)
    assert store.image_count(PNEUMONIA) == 50
    assert store.image_count(EFFUSION) == 0


def test_a_file_may_be_stored_again(captions, store, linker, vocabulary):
    ingest_file(captions, store, linker, vocabulary)
    before = store.images(limit=200)
    assert ingest_file(captions, store, linker, vocabulary, batch_size=7).counts == {"unchanged": 100, "rejected": 1}
    assert store.images(limit=200) == before
    assert ingest_file(captions, store, linker, vocabulary, on_conflict="replace").counts == {"unchanged": 100, "replaced": 1}


def test_problems_are_all_told_and_the_first_ones_kept(tmp_path, store, linker, vocabulary):
    path = tmp_path / "captions.txt"
    path.write_text("no tab\n" * 500)
    told = []
    report = ingest_file(path, store, linker, vocabulary, batch_size=100, on_problem=told.append)
    assert (report.counts, report.bad_rows, len(told), len(report.problems)) == ({}, 500, 500, FIRST_PROBLEMS)
    assert store.counts() == GraphCounts(0, 0, 0, 0)


def test_an_empty_file_is_stored_as_nothing(tmp_path, store, linker, vocabulary):
    path = tmp_path / "captions.ndjson"
    path.write_text("")
    report = ingest_file(path, store, linker, vocabulary)
    assert (report.rows, report.counts, report.problems) == (0, {}, ())


def test_a_file_with_a_companion_of_cuis(tmp_path, store, linker, vocabulary):
    (tmp_path / "captions.txt").write_text("R1\tone\nR2\tpneumonia\n")
    (tmp_path / "cuis.txt").write_text(f"R1\t{EFFUSION}\t{UNKNOWN}\n")
    options = ReadOptions(cuis=tmp_path / "cuis.txt", dataset="roco", split="train")
    ingest_file(tmp_path / "captions.txt", store, linker, vocabulary, options=options)
    graph = store.read_graph(dataset="roco", split="train")
    assert graph.cuis == (PNEUMONIA, EFFUSION, LUNG_DISEASE, DISEASE, UNKNOWN)
    assert graph.linkers == ("dict-1", "given")


def test_cuis_that_the_vocabulary_lacks_are_counted_once_each_and_the_first_named(tmp_path, store, linker, vocabulary):
    path = tmp_path / "captions.csv"
    lacking = [f"C777777{number}" for number in range(8)]
    rows = [f"{number},pneumonia,{EFFUSION} {cui} {UNKNOWN}" for number, cui in enumerate(lacking)]
    path.write_text("\n".join(["image_id,caption,cuis", "linked,pneumonia,", *rows, "none,,C12", *rows]))
    report = ingest_file(path, store, linker, vocabulary, batch_size=3)
    assert report.unknown_cuis == 8
    assert [(cui, row.line, row.item.image_id) for cui, row in report.first_unknown_cuis] == [
        ("C7777770", 3, "0"),
        ("C7777777", 3, "0"),
        ("C7777771", 4, "1"),
        ("C7777772", 5, "2"),
        ("C7777773", 6, "3"),
    ]
    relinked = ingest_file(path, store, linker, vocabulary, options=ReadOptions(relink=True))
    assert (relinked.unknown_cuis, relinked.first_unknown_cuis) == (0, ())


@pytest.mark.parametrize("stopped", [3, 6, 9])
def test_an_ingest_that_goes_on_counts_unknown_cuis_as_one_that_never_stopped(tmp_path, store, linker, vocabulary, stopped):
    path = tmp_path / "captions.csv"
    path.write_text("image_id,caption,cuis\n" + "".join(f"{row},x,C777777{row % 7}\n" for row in range(9)))
    steps = []
    whole = ingest_file(path, store, linker, vocabulary, batch_size=3, on_progress=steps.append)
    before = replace(next(step for step in steps if step.rows == stopped), unknown_cuis=0, first_unknown_cuis=())
    again = ingest_file(path, store, linker, vocabulary, batch_size=3, before=before)
    assert (again.unknown_cuis, again.first_unknown_cuis) == (whole.unknown_cuis, whole.first_unknown_cuis)
    assert whole.unknown_cuis == 7


def test_a_file_that_breaks_off_says_so(tmp_path, store, linker, vocabulary):
    path = tmp_path / "captions.csv.gz"
    path.write_bytes(b"not gzip")
    with pytest.raises(InvalidInput, match=r"captions\.csv\.gz:1: can't be read on"):
        ingest_file(path, store, linker, vocabulary)
