import numpy as np
import pytest
from kg_service.vocabulary.formats.snomed_ids import are_sctids
from support.ontologies import is_checked, sctid


def check(*texts):
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    end = np.cumsum([len(text) for text in texts])
    return are_sctids(data, end - [len(text) for text in texts], end).tolist()


PUBLISHED = ["116680003", "363698007", "123005000", "138875005", "900000000000003001", "900000000000509007"]


def test_published_identifiers_are_good():
    assert check(*PUBLISHED) == [True] * len(PUBLISHED)


@pytest.mark.parametrize("good", [*PUBLISHED, sctid(1), sctid(9_999_999)])
def test_every_wrong_digit_and_every_exchange_of_neighbours_is_found(good):
    wrong = [good[:at] + other + good[at + 1 :] for at in range(len(good)) for other in "0123456789" if other != good[at]]
    wrong += [good[:at] + good[at + 1] + good[at] + good[at + 2 :] for at in range(len(good) - 1) if good[at] != good[at + 1]]
    assert check(*wrong) == [False] * len(wrong)


def test_many_numbers_are_judged_as_by_the_tables():
    texts = [str(number) for number in range(100_000, 102_000)]
    assert check(*texts) == [is_checked(text) for text in texts]


def test_what_is_no_number_of_6_to_18_digits_is_refused():
    short = [text for text in map(str, range(10_000, 10_200)) if is_checked(text)]
    assert short
    assert check(*short, "", "11668000x", "-16680003", "900000000000003001" * 2) == [False] * (len(short) + 4)
    assert check() == []
