"""What holds for every linker."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CAPTIONS = [
    "Chest X-ray showing a left pleural effusion and cardiomegaly.",
    "No pneumothorax. Possible pneumonia in the left lung.",
    "Hepatocellular carcinoma (HCC). The HCC has no metastasis.",
    "",
    "   \n\t ",
    "🫁 Pleural effusion 🫁 in a naïve patient: œdème, e\u0301",
    "nothing that the vocabulary knows",
]
text = st.lists(
    st.sampled_from(
        [
            "Pleural effusion",
            "lung",
            "no",
            "(",
            ")",
            "HCC",
            "=",
            ".",
            "🫁",
            "\n",
            "e\u0301",
            "\u2028",
            "\u00ad",
            "\u0153dema",
            "history of",
            "possible",
            "WAS",
            "-",
            "ß",
        ]
    )
    | st.text(max_size=6),
    max_size=14,
).map(" ".join)


def check(caption, linked):
    assert linked.caption == caption
    order = [(mention.start, -mention.end, mention.cui) for mention in linked.mentions]
    assert order == sorted(order)
    assert len({(mention.start, mention.end) for mention in linked.mentions}) == len(order)
    for mention in linked.mentions:
        assert 0 <= mention.start < mention.end <= len(caption)
        assert caption[mention.start : mention.end] == mention.text
        assert 0 <= mention.score <= 1
        assert mention.rule
        assert mention.assertion in {"present", "absent", "uncertain", "family", "history"}
        assert mention.cui not in {candidate.cui for candidate in mention.candidates}


def test_one_answer_a_caption_in_order(linker):
    linked = linker.link(CAPTIONS)
    assert [answer.caption for answer in linked] == CAPTIONS
    for caption, answer in zip(CAPTIONS, linked, strict=True):
        check(caption, answer)


def test_no_captions_give_no_answers(linker):
    assert linker.link([]) == []


def test_answers_do_not_depend_on_batch_order_or_repetition(linker):
    expected = {caption: linker.link([caption])[0] for caption in CAPTIONS}
    assert linker.link(CAPTIONS[::-1]) == [expected[caption] for caption in CAPTIONS[::-1]]
    assert linker.link(CAPTIONS * 60) == [expected[caption] for caption in CAPTIONS * 60]


def test_another_instance_gives_the_same(linker, linker_with):
    kind = linker.name.split("-")[0]
    again = linker_with(kind)
    assert again.name == linker.name
    assert again.link(CAPTIONS) == linker.link(CAPTIONS)


def test_literal_names_are_found_with_their_assertion(linker):
    linked = linker.link(["Pleural effusion is seen, without pneumothorax. Possible pneumonia."])[0]
    assert [
        (mention.cui, mention.text, mention.assertion)
        for mention in linked.mentions
        if " " in mention.text or len(mention.text) > 8
    ] == [
        ("C0032227", "Pleural effusion", "present"),
        ("C0032326", "pneumothorax", "absent"),
        ("C0032285", "pneumonia", "uncertain"),
    ]


def test_abbreviation_defined_in_the_caption_is_linked_where_it_is_used(linker):
    linked = linker.link(["Hepatocellular carcinoma (HCC) is shown. The HCC is large."])[0]
    assert [(mention.text, mention.cui) for mention in linked.mentions] == [
        ("Hepatocellular carcinoma", "C0019204"),
        ("HCC", "C0019204"),
        ("HCC", "C0019204"),
    ]


def test_semantic_types_and_score_filter(linker, linker_with):
    kind = linker.name.split("-")[0]
    caption = "Chest X-ray with pleural effusion in the left lung"
    findings = linker_with(kind, semantic_types=("T047",), nested="none").link([caption])[0]
    assert {mention.text for mention in findings.mentions} == {"pleural effusion"}
    assert all(mention.score >= 0.99 for mention in linker_with(kind, min_score=0.99).link([caption])[0].mentions)


def test_losing_candidates_are_kept_up_to_the_limit(linker, linker_with):
    kind = linker.name.split("-")[0]
    mention = linker.link(["A nodule is seen"])[0].mentions[0]
    assert (mention.cui, mention.candidates[0].cui) == ("C0028259", "C0011847")
    assert linker_with(kind, candidates=0).link(["A nodule is seen"])[0].mentions[0].candidates == ()


@pytest.mark.parametrize("caption", ["(" * 300, "effusion " * 200, "no " * 500, "A: " * 300, "\ud83d\ude00" * 10, "x" * 5000])
def test_odd_captions_are_answered(linker, caption):
    check(caption, linker.link([caption])[0])


@given(captions=st.lists(text, max_size=3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_answered_within_the_contract(linker, captions):
    for caption, linked in zip(captions, linker.link(captions), strict=True):
        check(caption, linked)
