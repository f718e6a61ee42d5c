import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.snapshot.lookup import find_rows, id_table

ids = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12), unique=True, max_size=60)


@settings(deadline=None)
@given(ids, ids)
def test_every_id_is_found_in_its_row_and_no_other_is(held, asked):
    wanted = [*asked, *reversed(held)]
    assert find_rows(*id_table(held), wanted).tolist() == [held.index(each) if each in held else -1 for each in wanted]


def test_a_prefix_or_another_order_of_the_same_letters_is_another_id():
    held = ["ab", "abc", "cba", "a"]
    assert find_rows(*id_table(held), ["abc", "bca", "abcd", "a", "b"]).tolist() == [1, -1, -1, 3, -1]


def test_the_table_has_room_for_twice_as_many():
    _, offsets, table = id_table([str(number) for number in range(1000)])
    assert np.count_nonzero(table) == len(offsets) - 1 == 1000
    assert len(table) >= 2000


def test_ids_that_could_not_be_told_apart_and_none_at_all_are_not_there():
    table = id_table(["a", "b", "a b"])
    assert find_rows(*table, ["a\0b", "b", "\0", "a"]).tolist() == [-1, 1, -1, 0]
    assert find_rows(*table, ["", "b", ""]).tolist() == [-1, 1, -1]
    assert find_rows(*table, []).tolist() == []
