"""Names of atoms, against a dictionary."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.vocabulary.atoms import AtomFiles, atom_batch, names_of, precedence_of
from kg_service.vocabulary.codes import Codes
from kg_service.vocabulary.format import CODE_MASK, PRECEDENCE_SHIFT, RANK_SHIFT, SOURCE_SHIFT
from kg_service.vocabulary.pairs import Distinct
from nbclip.errors import InvalidInput

ATOMS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 131_071, 131_072, 9_999_999]),
        st.integers(0, 7),
        st.sampled_from(["MSH", "NCI", "ADA"]),
        st.sampled_from(["PT", "SY"]),
        st.sampled_from(["lung", "Lung", "", "é", "z", "\U0001f600", "\ufffd"]),
    ),
    min_size=1,
    max_size=40,
)


def batch_of(atoms, sabs, ttys):
    cui, rank, sab, tty, text = zip(*atoms, strict=True)
    codes = (codes.encode(pa.chunked_array([column])) for codes, column in ((sabs, sab), (ttys, tty)))
    return atom_batch(np.array(cui, np.int32), np.array(rank, np.int8), *codes, pa.array(text))


@given(
    batches=st.lists(ATOMS, min_size=1, max_size=4),
    ranks=st.dictionaries(st.tuples(st.sampled_from(["MSH", "NCI"]), st.just("PT")), st.integers(0, 9)),
)
@settings(max_examples=60, deadline=None)
def test_names_are_the_texts_of_each_concept_in_order_of_their_best_key(tmp_path_factory, batches, ranks):
    sabs, ttys = Codes("SAB"), Codes("TTY")
    made = [batch_of(atoms, sabs, ttys) for atoms in batches]
    sources, term_types = sorted(sabs.values()), sorted(ttys.values())
    precedence = precedence_of(sabs, sources, ttys, term_types, ranks)
    found = []
    with AtomFiles(tmp_path_factory.getbasetemp()) as files:
        for batch in made:
            files.add(batch)
        for atoms in files:
            names = names_of(atoms, precedence.keys(atoms))
            found += zip(names.cui.tolist(), names.key.tolist(), names.text.to_pylist(), strict=True)

    by_rank = sorted(ranks, key=lambda pair: (-ranks[pair], pair))

    def key_of(rank, sab, tty):
        place = by_rank.index((sab, tty)) if (sab, tty) in ranks else CODE_MASK
        return rank << RANK_SHIFT | place << PRECEDENCE_SHIFT | sources.index(sab) << SOURCE_SHIFT | term_types.index(tty)

    best = {}
    for cui, rank, sab, tty, text in (atom for atoms in batches for atom in atoms):
        key = key_of(rank, sab, tty)
        best[cui, text] = min(key, best.get((cui, text), key))
    assert found == sorted(
        ((cui, key, text) for (cui, text), key in best.items()), key=lambda name: (*name[:2], name[2].encode())
    )


def test_a_column_of_few_values_must_have_few():
    codes = Codes("SAB")
    codes.encode(pa.chunked_array([[str(number) for number in range(1 << 16)]]))
    with pytest.raises(InvalidInput, match="column SAB has over 65536 different values"):
        codes.encode(pa.chunked_array([["one more"]]))


def test_distinct_rows_are_the_same_however_often_they_are_settled(monkeypatch):
    monkeypatch.setattr("kg_service.vocabulary.pairs._ENOUGH", 10)
    luck, distinct, expected = np.random.default_rng(3), Distinct(), set()
    for _ in range(50):
        columns = [luck.integers(0, high, 7) for high in (3, 10**7, 1 << 16)]
        columns[1][:4] = columns[2][:4] = [0, 1, 0, 1]
        distinct.add(*columns)
        expected |= set(zip(*(column.tolist() for column in columns), strict=True))
    assert list(zip(*(column.tolist() for column in distinct.rows()), strict=True)) == sorted(expected)
