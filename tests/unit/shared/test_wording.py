from nbclip.wording import counted


def test_one_is_singular_and_all_else_is_not():
    assert [counted(count, "row") for count in (0, 1, 2, 1_000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
