import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.assertion import assess


def assertions(caption):
    """`caption` marks findings as [finding]; returns the caption's words for each: + present, - absent, ? uncertain."""
    spans: list[tuple[int, int]] = []
    plain = ""
    for position, piece in enumerate(caption.replace("]", "[").split("[")):
        if position % 2:
            spans.append((len(plain), len(plain) + len(piece)))
        plain += piece
    return "".join({"present": "+", "absent": "-", "uncertain": "?"}[value] for value in assess(plain, spans))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("CT shows a [mass]", "+"),
        ("There is no [pleural effusion]", "-"),
        ("No evidence of [pneumothorax] or [effusion]", "--"),
        ("without [fracture], [dislocation] or [effusion]", "---"),
        ("[mass] without [calcification]", "+-"),
        ("neither [stenosis] nor [thrombus] was seen", "--"),
        ("revealed neither [ureteral stricture] nor [leakage] from the anastomosis", "--"),
        ("failed to reveal [metastases]", "-"),
        ("The [aneurysm] is no longer visible", "-"),
        ("[pneumonia] was ruled out", "-"),
        ("negative for [haemorrhage]", "-"),
        ("absence of [flow] in the left [kidney]", "-+"),
        ("the [left kidney] is absent", "-"),
        ("no [lesion] in the [liver]", "-+"),
        ("No [effusion]. [Cardiomegaly] is seen", "-+"),
        ("no [effusion] but [cardiomegaly]", "-+"),
        ("No [fracture] is seen; however, [swelling] is", "-+"),
        ("no [fracture], with [swelling] of the knee", "-+"),
        ("[mass] was not identified", "-"),
        ("does not show [ischaemia]", "-"),
        ("free of [tumour]", "-"),
        ("lack of [enhancement]", "-"),
        ("complete resolution of the [abscess]", "-"),
        ("the [collection] has disappeared", "-"),
        ("possible [pneumonia]", "?"),
        ("suspected [tuberculosis] with [cavity]", "?+"),
        ("suspicious for [malignancy]", "?"),
        ("cannot exclude [metastasis]", "?"),
        ("[metastasis] cannot be excluded", "?"),
        ("a [mass], most likely [lipoma]", "+?"),
        ("[fracture] is suspected", "?"),
        ("may represent [abscess]", "?"),
        ("to rule out [embolism]", "?"),
        ("no possible [fracture]", "-"),
        ("CT without contrast showing [haematoma]", "+"),
        ("CT without [contrast]", "+"),
        ("with and without [contrast]", "+"),
        ("no change in the [nodule]", "+"),
        ("no significant change in the [nodule]", "+"),
        ("not only [nodules] but [masses]", "++"),
        ("high resolution of the [bone]", "+"),
        ("consistent with [pneumonia]", "+"),
        ("NO [EFFUSION]", "-"),
        ("(a) No [effusion] (b) [mass]", "-+"),
        ("knowledge of [nodule]; nodular [mass]", "++"),
        ("normal [lungs]", "+"),
    ],
)
def test_sentences(caption, expected):
    assert assertions(caption) == expected


@given(st.text(alphabet="no withut.,;()\n possible[]", max_size=80), st.integers(0, 40), st.integers(1, 40))
def test_any_span_of_any_text_gets_an_answer(caption, start, length):
    assert len(assess(caption, [(start, start + length), (0, 1)])) == 2
