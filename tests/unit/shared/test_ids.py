from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclip.errors import InvalidId, NBClipError
from nbclip.ids import caption_sha256, check_cui, check_image_id, check_snapshot_id
from nbclip.schemas.images import ImageItem
from nbclip.schemas.targets import MAX_BATCH, TargetsRequest
from pydantic import ValidationError


@pytest.mark.parametrize("cui", ["39607008", "900000000000003001", "RID1301", "UBERON:0002048", "GO:0005575", "EFO:x-1.2"])
def test_ids_of_other_vocabularies_pass(cui):
    assert check_cui(cui) == cui


@pytest.mark.parametrize("cui", ["", "C123", "c0024109", "C00241090", "C0024109\n", "C００２４１０９"])
def test_what_is_no_cui_is_refused(cui):
    with pytest.raises(InvalidId, match="C0024109"):
        check_cui(cui)


@pytest.mark.parametrize("image_id", ["", "a\nb", "a\x00", "\ud800", "x" * 513, "é" * 257])
def test_unusable_image_ids_are_refused(image_id):
    with pytest.raises(InvalidId):
        check_image_id(image_id)
    with pytest.raises(ValidationError):
        ImageItem(image_id=image_id, caption="x")


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=128))
def test_printable_ids_of_up_to_512_bytes_are_kept(image_id):
    assert check_image_id(image_id) == image_id


_IDS = st.one_of(
    st.text(max_size=200), st.sampled_from(["", "a\nb", "\x7f", "\xa0", "x" * 512, "x" * 513, "é" * 257]), st.integers()
)


@given(st.lists(_IDS, min_size=1, max_size=5), st.sampled_from(["image_ids", "column_ids"]))
def test_a_batch_of_ids_is_refused_where_one_of_them_is(image_ids, field):
    bad = [at for at, image_id in enumerate(image_ids) if not _is_good(image_id)]
    with nullcontext() if not bad else pytest.raises(ValidationError) as refused:
        assert getattr(TargetsRequest.model_validate({"image_ids": ["a"], field: image_ids}), field) == image_ids
    if bad:
        assert [each["loc"] for each in refused.value.errors()] == [(field, at) for at in bad]


@pytest.mark.parametrize("image_ids", [[], ["a"] * (MAX_BATCH + 1), "a", {"a": 1}, None])
def test_a_batch_is_a_list_of_bounded_length(image_ids):
    with pytest.raises(ValidationError):
        TargetsRequest.model_validate({"image_ids": image_ids})


def _is_good(image_id):
    try:
        return isinstance(image_id, str) and bool(check_image_id(image_id))
    except InvalidId:
        return False


def test_a_snapshot_id_is_a_digest():
    assert check_snapshot_id("0" * 64) == "0" * 64
    with pytest.raises(InvalidId):
        check_snapshot_id("../../etc/passwd")


def test_white_space_does_not_make_another_caption():
    assert caption_sha256("CT of  the\nchest ") == caption_sha256("CT of the chest")
    assert caption_sha256("CT of the chest") != caption_sha256("ct of the chest")


def test_every_error_has_its_own_code_and_the_docstring_draws_the_status():
    import nbclip.errors as module

    errors = [cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, NBClipError)]
    assert len({cls.code for cls in errors}) == len(errors)
    for cls in errors[1:]:
        line = next(line for line in module.__doc__.splitlines() if cls.__name__ in line)
        assert line.split()[-3:] == [str(cls.status), "exit", str(cls.exit_code)]


def test_an_empty_id_is_called_empty():
    with pytest.raises(InvalidId, match="image id is empty"):
        check_image_id("")


@pytest.mark.parametrize(
    "value",
    [
        *(
            "lung",
            "12345",
            "0123456",
            "1" * 19,
            "A:",
            ":1",
            "a b:1",
            "UBERON:../x",
            "UBERON:a/b",
            "..",
            "A:b c",
            "A:1\n",
            "Ａ:１",
        ),
        *("A:" + "1" * 63, "X" * 33 + ":1", "UBERON:1;DROP", "A:$x", "A:'", "A:{b}", "RID", "R1", "-1:1", "A:1:2", "A:é"),
    ],
)
def test_words_paths_and_queries_are_no_ids_of_concepts(value):
    with pytest.raises(InvalidId):
        check_cui(value)
