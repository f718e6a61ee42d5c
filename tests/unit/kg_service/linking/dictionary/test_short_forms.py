import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.dictionary.short_forms import Surroundings, read_context
from kg_service.linking.tables import read_table

MEANINGS: dict[str, list] = {}
for short, long_form, *context in read_table("radiology.tsv"):
    MEANINGS.setdefault(short, []).append((read_context(" ".join(context)), long_form))


def meant(caption, short):
    """What each `short` of the caption means, in order."""
    places = [at for at in range(len(caption)) if caption.startswith(short, at)]
    return [Surroundings(caption).choose(MEANINGS[short], at) for at in places]


@pytest.mark.parametrize(
    ("caption", "short", "expected"),
    [
        ("Erosions in RA. RA and RV are enlarged.", "RA", ["rheumatoid arthritis", "right atrium"]),
        ("RA and RV are enlarged. Erosions in RA.", "RA", ["right atrium", "rheumatoid arthritis"]),
        ("The atrium is large. Catheter in RA", "RA", ["right atrium"]),
        ("Joint erosions. Typical of RA", "RA", ["rheumatoid arthritis"]),
        ("RA", "RA", [None]),
        ("cervical nerve, arvid; RA", "RA", [None]),
        ("Tamponade: PE. CTPA shows PE.", "PE", ["pericardial effusion", "pulmonary embolism"]),
        ("PDA and RCA", "PDA", ["posterior descending artery"]),
        ("PDA", "PDA", ["patent ductus arteriosus"]),
        ("PTX", "PTX", ["pneumothorax"]),
        ("MR of the brain. MR with a regurgitant jet.", "MR", ["magnetic resonance imaging", "mitral regurgitation"]),
    ],
)
def test_the_nearest_words_choose(caption, short, expected):
    assert meant(caption, short) == expected


@given(st.sampled_from(sorted(MEANINGS)), st.text("RAVL .heart", max_size=30), st.text("joint;\n ", max_size=30))
def test_a_meaning_is_one_of_the_tables_whose_context_is_in_the_caption(short, before, after):
    caption = f"{before} {short} {after}"
    found = Surroundings(caption).choose(MEANINGS[short], len(before) + 1)
    fitting = [long_form for context, long_form in MEANINGS[short] if context.is_any or context.holds(caption)]
    assert found in fitting if fitting else found is None
