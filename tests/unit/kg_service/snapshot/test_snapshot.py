import math
import shutil

import numpy as np
import pytest
import safetensors.numpy
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.transe import TransE
from kg_service.snapshot import SnapshotFolder, answer_targets, embeddings_parts
from kg_service.snapshot.publication import publish
from nbclip.codec import final_part
from nbclip.errors import BrokenArtefact, Conflict, Gone, InvalidId, InvalidInput, Unavailable, UnknownImages
from nbclip.schemas.targets import TargetsRequest
from support.small_graphs import GraphOnly, graph_of

HYBRID = Hybrid(smoothing=0, hub_share=1.0, redundancy=0)


@pytest.fixture
def folder(tmp_path, five_images):
    publish(
        GraphOnly(five_images),
        tmp_path,
        vocabulary={"release": "test"},
        representations={"hybrid": HYBRID},
    )
    return SnapshotFolder(tmp_path)


def ask(folder, **request):
    return answer_targets(folder.open(), TargetsRequest(**request))


def test_the_matrix_is_the_one_worked_out_from_the_edges(folder):
    matrix = ask(folder, image_ids=["a", "b"], column_ids=["a", "b", "c", "d", "e"], knowledge="dk", output="similarity")
    pneumonia, effusion = math.log(6 / 2.5) ** 1.5, math.log(6 / 1.5) ** 1.5
    shared = pneumonia / math.hypot(pneumonia, effusion)
    assert np.allclose(matrix.values, [[1, shared, 0, 0, 0], [shared, 1, 0, 0, 0]], atol=1e-6)
    assert matrix.has_knowledge.tolist() == [True, True, True, True, False]
    assert matrix.metadata["snapshot"] == folder.current()


def test_target_rows_are_the_formula_worked_by_hand(folder):
    matrix = ask(folder, image_ids=["a", "b", "c", "d", "e"], knowledge="dk", neighbour_mass=0.4, temperature=0.5)
    pneumonia, effusion = math.log(6 / 2.5) ** 1.5, math.log(6 / 1.5) ** 1.5
    shared = pneumonia / math.hypot(pneumonia, effusion)
    near, far = math.exp(shared / 0.5), math.exp(0.0)
    row_a = [0.6, 0.4 * near / (near + 2 * far), 0.4 * far / (near + 2 * far), 0.4 * far / (near + 2 * far), 0]
    assert np.allclose(matrix.values[0], row_a, atol=1e-6)
    assert matrix.values[3].tolist() == [0, 0, 0, 1, 0]  # d shares nothing: no evidence
    assert matrix.values[4].tolist() == [0, 0, 0, 0, 1]  # e has no concept
    assert np.allclose(matrix.values.sum(axis=1), 1, atol=1e-6)


def test_similarity_is_symmetric_with_diagonal_one_for_every_variant(folder):
    for knowledge in ("noise", "dk", "dk_ek"):
        values = ask(folder, image_ids=["e", "a", "c", "b", "d"], knowledge=knowledge, output="similarity").values
        assert np.array_equal(values, values.T)
        assert (np.diag(values) == 1).all()


def test_rows_of_one_rank_are_rows_of_the_whole(folder):
    whole = ask(folder, image_ids=["a", "b", "c", "d", "e"]).values
    part = ask(folder, image_ids=["c", "a"], column_ids=["a", "b", "c", "d", "e"]).values
    assert np.allclose(part, whole[[2, 0]], atol=1e-6)


def test_images_with_the_same_caption_share_the_hard_mass(tmp_path, five_images):
    from dataclasses import replace

    same = replace(five_images, caption_sha256=(five_images.caption_sha256[3], *five_images.caption_sha256[1:]))
    publish(GraphOnly(same), tmp_path, vocabulary={})
    values = ask(SnapshotFolder(tmp_path), image_ids=["a", "d", "b"], neighbour_mass=0.0).values
    assert np.allclose(values, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_an_image_asked_for_twice_is_its_own_duplicate(folder):
    matrix = ask(folder, image_ids=["a", "a", "d"], neighbour_mass=0.0)
    assert np.allclose(matrix.values, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_unknown_images_are_named_or_flagged(folder):
    with pytest.raises(UnknownImages, match=r"2 images .*: ghost, zombie"):
        ask(folder, image_ids=["a", "zombie", "ghost"])
    matrix = ask(folder, image_ids=["a", "ghost", "b"], on_unknown="flag", output="similarity")
    assert matrix.unknown.tolist() == [False, True, False]
    assert matrix.has_knowledge.tolist() == [True, False, True]
    assert matrix.values[1].tolist() == [0, 1, 0]
    assert matrix.values[:, 1].tolist() == [0, 1, 0]


def test_only_twenty_unknown_images_are_named(folder):
    with pytest.raises(UnknownImages, match="30 images") as raised:
        ask(folder, image_ids=[f"ghost-{index:02d}" for index in range(30)])
    assert raised.value.message.count("ghost") == 20


def test_a_target_row_needs_its_own_column(folder):
    with pytest.raises(InvalidInput, match="'b'"):
        ask(folder, image_ids=["a", "b"], column_ids=["a", "c"])


def test_a_variant_that_is_not_held_is_refused(folder):
    with pytest.raises(InvalidInput, match="hybrid/dk"):
        ask(folder, image_ids=["a"], representation="transe")


def test_the_same_graph_has_the_same_id(folder, tmp_path, five_images):
    before = folder.current()
    options = {"vocabulary": {"release": "test"}, "representations": {"hybrid": HYBRID}}
    assert publish(GraphOnly(five_images), tmp_path, **options) == before
    assert folder.ids() == [before]
    other = publish(GraphOnly(five_images), tmp_path, vocabulary={"release": "other"})
    assert folder.ids() == [other, before]
    assert folder.open(before).id == before


def test_a_changed_byte_is_found_and_named(folder):
    path = folder.path / folder.current() / "hybrid.dk.x.sparse_data.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenArtefact, match=r"hybrid\.dk\.x\.sparse_data\.npy"):
        folder.open()


def test_a_missing_file_and_a_false_manifest_are_found(folder):
    held = folder.current()
    manifest = folder.path / held / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"images":5', b'"images":6'))
    with pytest.raises(BrokenArtefact, match=r"manifest\.json"):
        folder.open()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"format":1,"images":5}', "made by another version: format 1, and this one reads 2"),
        (b'{"format":"\\u00fc"}', "made by another version"),
        (b"{}", "is not a manifest"),
        (b"[]", "is not a manifest"),
        (b"\xff", "is not a manifest"),
    ],
)
def test_a_manifest_that_can_not_be_read_is_told_from_those_that_can(folder, content, said):
    held, other = folder.current(), "0" * 64
    (folder.path / other).mkdir()
    (folder.path / other / "manifest.json").write_bytes(content)
    (first, manifest), (second, error) = folder.manifests()
    assert (first, manifest, second) == (held, folder.manifest(held), other)
    assert isinstance(error, BrokenArtefact)
    assert said in error.message
    assert "kg-service snapshot prune" in error.hint


def test_what_is_not_held_is_said(folder, tmp_path):
    with pytest.raises(Gone, match="held: "):
        folder.open("0" * 64)
    with pytest.raises(InvalidId):
        folder.open("../../etc")
    with pytest.raises(Unavailable, match="snapshot publish"):
        SnapshotFolder(tmp_path / "nothing").open()


def test_nothing_is_left_beside_the_snapshot(folder):
    assert sorted(entry.name for entry in folder.path.iterdir()) == sorted([".lock", "CURRENT", folder.current()])


def test_published_vectors_multiply_to_the_similarities(folder):
    tensors = safetensors.numpy.load(b"".join(embeddings_parts(folder.open(), "dk_ek", "hybrid")))
    dense = np.zeros((5, 5), np.float32)
    for row in range(5):
        start, end = tensors["sparse_indptr"][row : row + 2]
        dense[row, tensors["sparse_indices"][start:end]] = tensors["sparse_data"][start:end]
    asked = ask(folder, image_ids=["a", "b", "c", "d"], output="similarity").values
    assert np.allclose((dense @ dense.T)[:4, :4], asked, atol=1e-6)


@pytest.mark.parametrize("field", ["image_ids", "attribute_indices"])
def test_an_empty_graph_is_not_published(tmp_path, five_images, field):
    from dataclasses import replace

    empty = {
        "image_ids": replace(five_images, image_ids=()),
        "attribute_indices": replace(
            five_images, attribute_indices=np.zeros(0, np.int32), attribute_indptr=np.zeros(6, np.int64)
        ),
    }[field]
    with pytest.raises(Conflict):
        publish(GraphOnly(empty), tmp_path, vocabulary={})
    assert list(tmp_path.iterdir()) == []


def test_publishing_again_mends_a_damaged_snapshot(folder, tmp_path, five_images):
    held = folder.current()
    (folder.path / held / "graph.is_a.npy").write_bytes(b"x")
    options = {"vocabulary": {"release": "test"}, "representations": {"hybrid": HYBRID}}
    assert publish(GraphOnly(five_images), tmp_path, **options) == held
    assert SnapshotFolder(tmp_path).open().id == held


def test_what_a_crash_left_is_no_snapshot(folder):
    shutil.copytree(folder.path / folder.current(), folder.path / ".kg-new.crashed")
    assert folder.ids() == [folder.current()]


def test_two_unknown_images_are_no_duplicates(folder):
    matrix = ask(folder, image_ids=["ghost", "zombie", "a"], on_unknown="flag")
    assert matrix.values[:2].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_columns_that_are_the_rows_change_nothing(folder):
    ids = ["c", "a", "b"]
    assert np.array_equal(ask(folder, image_ids=ids).values, ask(folder, image_ids=ids, column_ids=ids).values)


def test_a_small_graph_below_the_rank_has_one_id(tmp_path, five_images):
    ids = {publish(GraphOnly(five_images), tmp_path / str(index), vocabulary={}) for index in range(3)}
    assert len(ids) == 1


def test_learned_vectors_are_published_as_reproducibly_and_are_asked_for_by_name(tmp_path, five_images):
    learned = {"transe": TransE(dimension=8, epochs=2, images="own")}
    first, again = (publish(GraphOnly(five_images), tmp_path / each, vocabulary={}, representations=learned) for each in "ab")
    assert first == again
    folder = SnapshotFolder(tmp_path / "a")
    for knowledge in ("dk", "dk_ek"):
        values = ask(folder, image_ids=list("abcde"), representation="transe", knowledge=knowledge, output="similarity").values
        assert np.array_equal(values, values.T)
        assert np.array_equal(values[4], [0, 0, 0, 0, 1])
    with pytest.raises(InvalidInput, match="hybrid/dk"):
        ask(folder, image_ids=["a"])


def test_every_variant_has_a_model_card(folder):
    cards = folder.manifest(folder.current()).variants
    assert cards["hybrid/dk_ek"]["ancestors"] is True
    assert cards["hybrid/dk"]["ancestors"] is False
    assert (cards["hybrid/dk_ek"]["images"], cards["hybrid/dk_ek"]["concepts"]) == (5, 5)
    assert (cards["noise/noise"]["method"], cards["noise/noise"]["seed"]) == ("noise", 42)
    assert all(card["inductive"] for card in cards.values())


@pytest.mark.parametrize(("output", "dtype"), [("similarity", "float32"), ("similarity", "float16"), ("targets", "float32")])
@pytest.mark.parametrize("columns", [None, 700])
def test_rows_that_are_told_of_are_final(tmp_path, output, dtype, columns):
    """Several blocks of rows: what was seen of each is what the whole has in the end, and the flags are there from the first."""
    generator = np.random.default_rng(0)
    graph = graph_of([np.unique(generator.integers(0, 60, 4)).tolist() for _ in range(900)])
    ids = list(graph.image_ids)
    publish(GraphOnly(graph), tmp_path, vocabulary={"release": "test"}, representations={"hybrid": HYBRID})
    asked = {"output": output, "dtype": dtype, "knowledge": "dk"}
    request = TargetsRequest(image_ids=ids[:600] if columns else ids, column_ids=ids[:columns] if columns else None, **asked)
    seen = []

    def note(matrix, rows):
        body, final = final_part(matrix, rows)
        seen.append((rows, final, bytes(body[:final]), matrix.has_knowledge.copy(), matrix.unknown.copy()))

    matrix = answer_targets(SnapshotFolder(tmp_path).open(), request, note)
    assert [rows for rows, *_ in seen] == sorted({rows for rows, *_ in seen})
    assert len(seen) > 2
    for _, final, part, known, unknown in seen:
        assert part == bytes(matrix.body[:final])
        assert np.array_equal(known, matrix.has_knowledge)
        assert np.array_equal(unknown, matrix.unknown)
    assert seen[-1][:2] == (len(request.image_ids), len(matrix.body))
