import polars as pl
import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.data.dataset import FrameDataset
from nbclip_trainer.data.filtering import narrowed
from nbclip_trainer.data.settings import DataSettings

ROWS = FrameDataset(
    pl.DataFrame({
        "image_id": list("abcdef"),
        "source": ["x", "x", "y", "z", None, "y"],
        "made": ["real", "label", "real", "real", "real", None],
    })
)  # fmt: skip


def ids(known=None, rows=ROWS, **settings):
    return "".join(narrowed(rows, DataSettings(**settings), known=known).labels("image_id"))


def test_rows_have_one_of_the_values_in_every_column_or_in_none():
    assert ids() == "abcdef"
    assert ids(where={"source": ["x", "y"]}) == "abcf"
    assert ids(where={"source": ["x", "y"], "made": ["real"]}) == "ac"
    assert ids(exclude={"source": ["x", "y"]}) == "de", "a row without a value has none that is left out"
    assert ids(exclude={"source": ["x"], "made": ["real"]}) == "f"
    assert ids(where={"made": ["real"]}, exclude={"source": ["z"]}) == "ace"


def test_a_value_that_no_row_has_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidInput, match=r"data.where.source='w': no row") as caught:
        ids(where={"source": ["x", "w"]})
    assert caught.value.hint == "values of source: x, y, z"
    with pytest.raises(InvalidInput, match=r"data.exclude.made='w'"):
        ids(exclude={"made": ["w"]})
    with pytest.raises(NotFound, match="sauce"):
        ids(where={"sauce": ["x"]})


def test_another_split_need_not_have_every_value():
    few = FrameDataset(ROWS.frame[:3])
    assert ids(rows=few, known=ROWS, exclude={"source": ["z"]}) == "abc"
    with pytest.raises(InvalidInput, match=r"data.where leaves none of 3 rows"):
        ids(rows=few, known=ROWS, where={"source": ["z"]})
