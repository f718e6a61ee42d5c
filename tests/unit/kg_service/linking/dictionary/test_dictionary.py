import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kg_service.linking.assertion import assess
from kg_service.linking.builder import build_linker
from kg_service.linking.dictionary.name_index import build_name_index, index_folder, open_name_index
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound

EXAMPLE = Path(__file__).parents[5] / "examples" / "vocabulary"


@pytest.fixture
def found(dictionary_linker):
    def find(caption):
        return [(mention.text, mention.cui, mention.rule) for mention in dictionary_linker.link([caption])[0].mentions]

    return find


@pytest.mark.parametrize(
    ("caption", "text", "cui", "rule"),
    [
        ("a Pleural Effusion", "Pleural Effusion", "C0032227", "exact"),
        ("a pleural effusion", "pleural effusion", "C0032227", "case"),
        ("PLEURAL EFFUSION IS PRESENT", "PLEURAL EFFUSION", "C0032227", "case"),
        ("pleural effusions", "pleural effusions", "C0032227", "normalised"),
        ("pulmonary oedema", "pulmonary oedema", "C0034063", "normalised"),
        ("chest xray", "chest xray", "C0039985", "normalised"),
        ("ground glass opacities", "ground glass opacities", "C0175704", "normalised"),
        ("mets in the liver", "mets", "C0027627", "normalised"),
        ("fracture of the femur", "fracture of the femur", "C0015802", "word-order"),
        ("fractures of femur", "fractures of femur", "C0015802", "word-order"),
        ("edema of the lungs", "edema of the lungs", "C0034063", "word-order"),
        ("the alpha angle deformity", "alpha angle deformity", "C0333641", "normalised"),
        ("hepatitis A virus", "hepatitis A", "C0019699", "case"),
    ],
)
def test_spellings_of_a_name_are_found(found, caption, text, cui, rule):
    assert (text, cui, rule) in found(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "the patient was ten years old, can aids help",
        "THE PATIENT WAS TEN YEARS OLD",
        "hearing aids",
        "a calcifying process",
        "effusion, large; pleural thickening",
        "femur. fracture line",
    ],
)
def test_chance_matches_are_left_alone(found, caption):
    wrong = {"C0043194", "C0014518", "C0001175", "C0006663", "C0032227", "C0015802"}
    assert wrong.isdisjoint(cui for _, cui, _ in found(caption))


def test_longest_of_crossing_matches_wins(found):
    assert [text for text, _, _ in found("left lung edema")] == ["lung edema", "lung"]


@pytest.mark.parametrize(
    ("caption", "distinct", "inside"),
    [
        ("chest X-ray", ["chest X-ray", "chest"], []),
        ("left lung", ["left lung", "lung"], []),
        ("congestive heart failure", ["congestive heart failure"], ["heart failure"]),
    ],
)
def test_nesting_is_a_setting(linker_with, caption, distinct, inside):
    for nested, expected in (("distinct", distinct), ("all", distinct + inside), ("none", distinct[:1])):
        assert [mention.text for mention in linker_with(nested=nested).link([caption])[0].mentions] == expected


@pytest.mark.parametrize(
    ("caption", "text", "cui"),
    [
        ("thoracic effusion and heart enlargement", None, None),
        ("fracture of the femur", "fracture of the femur", "C0015802"),
        ("pulmonary metastatic disorder", "metastatic disorder", "C0027627"),
        ("thoracic X-ray", "thoracic X-ray", "C0039985"),
    ],
)
def test_synonyms_of_parts_and_ills_make_names(linker_with, caption, text, cui):
    def spans(**options):
        return {(mention.text, mention.cui, mention.rule) for mention in linker_with(**options).link([caption])[0].mentions}

    by_synonym = {(text, cui, "synonym")} if text and "fracture" not in text else set()
    assert {hit for hit in spans() if hit[2] == "synonym"} == by_synonym
    assert not {hit for hit in spans(synonyms=False) if hit[2] == "synonym"}


@pytest.mark.parametrize(
    ("caption", "text", "cui"),
    [
        ("Effussion", "Effussion", "C0013687"),
        ("small plueral effussions", "plueral effussions", "C0032227"),
        ("fratcure", "fratcure", "C0016658"),
    ],
)
def test_misspelt_words_are_read_as_the_vocabularys(linker_with, caption, text, cui):
    mentions = linker_with().link([caption])[0].mentions
    assert [(mention.text, mention.cui, mention.rule) for mention in mentions] == [(text, cui, "misspelt")]
    assert "misspelt" not in {mention.rule for mention in linker_with(misspellings=False).link([caption])[0].mentions}


@pytest.mark.parametrize(
    ("caption", "text", "cui"),
    [("Axial CT of the head", "CT", "C0040405"), ("enlarged LV", "LV", "C0225897"), ("US of the neck", "US", "C0041618")],
)
def test_radiologys_undefined_abbreviations_are_read_with_case(found, caption, text, cui):
    assert (text, cui, "radiology-abbreviation") in found(caption)
    assert cui not in {found_cui for _, found_cui, _ in found(caption.lower())}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("CT: PTX, LV.", ["CT", "PTX", "LV"]),
        ("CT, MRI, US: PTX.", ["CT", "MRI", "US", "PTX"]),
        ("CT AND LV ARE WRITTEN ABOUT BY US", ["CT", "LV"]),
        ("US", ["US"]),
        ("LET US SEE WHAT THERE IS", []),
        ("THE PATIENT HAD AIDS", []),
    ],
)
def test_short_forms_are_no_shouting(found, caption, expected):
    rules = {"radiology-abbreviation", "exact"}
    assert [text for text, _, rule in found(caption) if rule in rules and text != "AIDS"] == expected


def test_a_mark_between_words_doubts_as_a_word_does(dictionary_linker):
    captions = ["? pneumonia", "Pneumothorax +/- pneumonia", "Pneumonia?", "r/o pneumonia", "pneumothorax −ve", "pneumonia."]
    answers = [[mention.assertion for mention in linked.mentions] for linked in dictionary_linker.link(captions)]
    assert answers == [["uncertain"], ["present", "uncertain"], ["uncertain"], ["uncertain"], ["absent"], ["present"]]


def test_definition_in_the_caption_outweighs_radiologys_own(found):
    mentions = found("Low voltage (LV) was noted; LV persisted")
    assert "C0225897" not in {cui for _, cui, _ in mentions}


def test_legend_defines_abbreviations(found):
    assert ("PE", "C0032227", "abbreviation") in found("Thick PE. PE = pleural effusion")


def test_no_mention_reaches_over_a_sentence_or_a_bracket(found):
    assert found("pleural. Effusion") == [("Effusion", "C0013687", "exact")]
    assert ("lung (edema", "C0034063", "word-order") not in found("lung (edema)")


def test_stem_matches_need_a_lower_threshold(linker_with):
    caption = "dense calcifications and metastatic disease"
    assert [m.rule for m in linker_with(min_score=0.5).link(["calcifying"])[0].mentions] == ["stem"]
    assert "stem" not in {mention.rule for mention in linker_with().link([caption])[0].mentions}


def test_tie_goes_to_the_concept_that_the_vocabulary_knows_more_of(dictionary_linker):
    mention = dictionary_linker.link(["nodule"])[0].mentions[0]
    assert (mention.cui, [candidate.cui for candidate in mention.candidates]) == ("C0028259", ["C0011847"])


def test_all_names_of_the_vocabulary_link_to_one_of_their_concepts(vocabulary, dictionary_linker):
    names = [name for name in vocabulary.iter_names() if name.text not in {"WAS", "TEN"}]
    for name, linked in zip(names, dictionary_linker.link([name.text for name in names]), strict=True):
        whole = [mention for mention in linked.mentions if mention.text == name.text]
        assert len(whole) == 1, name
        assert name.cui in {whole[0].cui, *(candidate.cui for candidate in whole[0].candidates)}


@pytest.mark.parametrize(
    ("caption", "text", "cui"),
    [
        ("Small right pleural\neffusion is seen.", "pleural\neffusion", "C0032227"),
        ("Small right pleural\r\n  effusion is seen.", "pleural\r\n  effusion", "C0032227"),
        ("pul\u00admonary \u0153dema", "pul\u00admonary \u0153dema", "C0034063"),
        ("\u0152dema of the leg", "\u0152dema", "C0013604"),
        ("pleural\u00a0e\ufb00usion", "pleural\u00a0e\ufb00usion", "C0032227"),
        ("\ufeffpneumo\u200bthorax.", "pneumo\u200bthorax", "C0032326"),
        ("Wiskott\u2011Aldrich syndrome", "Wiskott\u2011Aldrich syndrome", "C0043194"),
        ("\uff30leural effusion", "\uff30leural effusion", "C0032227"),
        ("\u03b1\u2212angle deformity", "\u03b1\u2212angle deformity", "C0333641"),
    ],
)
def test_names_are_found_through_the_traces_of_other_programs(dictionary_linker, caption, text, cui):
    mentions = dictionary_linker.link([caption])[0].mentions
    assert (text, cui) in [(mention.text, mention.cui) for mention in mentions]
    assert all(caption[mention.start : mention.end] == mention.text for mention in mentions)


def test_lines_of_a_list_make_no_name_together(found):
    assert [text for text, *_ in found("- Left lung\n- Pleural\n- Effusion")] == ["Left lung", "lung", "Effusion"]


def test_a_short_form_defined_in_the_plural_is_used_in_the_singular(found):
    caption = "Femoral fractures (FFs) are seen. The FF is old; other FFs are new."
    assert [text for text, cui, _ in found(caption) if cui == "C0015802"] == ["Femoral fractures", "FFs", "FF", "FFs"]


PIECES = [
    "(", ")", "((a) ", "(PA ", "PA ", "RA and LV ", "AB (a b) ", "ABs (a bs) ", "A: ", "AB = a b, ", ", ", "effusion, ",
    "no effusion, ", "no ", "or ", "no or ", "nor ", "no ? ", "not ", "neither ", "neither x shows ", "? ", "vs ", "- ", "-No ",
    "\u2022 ", "\n", "lung\n", "of the\nLung ", "=", "in the ", "history of ", "mother had ", "can not be entirely ", "entirely ",
    "left lung right lung ", "\u00ad", "\ufb03", "A", ". ", " ",
    "The chest CT shows a small pleural effusion in the right lung, without pneumothorax. ",
]  # fmt: skip
BUSY_PIECES = [
    "pneumonia vs ", "mother had cancer of ", "history of pneumonia and ", "cannot exclude pneumonia and ", "pneumonia, if any, ",
    "either pneumonia or ", "no (pneumonia is ", "no (pneumonia seen) ", "no: pneumonia instead ", "pneumonia (-) ",
    "pneumonia v. ", "no sig. pneumonia ", "DDx: pneumonia, effusion, ", "> no ", "pneumonia | ", "pneumonia, resolved, ",
]  # fmt: skip


@pytest.mark.parametrize("piece", BUSY_PIECES)
def test_the_longest_caption_is_linked_in_a_fifth_of_a_second(dictionary_linker, piece):
    def seconds():
        before = time.process_time()
        dictionary_linker.link([piece * (20_000 // len(piece))])
        return time.process_time() - before

    assert min(seconds() for _ in range(3)) < 0.2


@pytest.mark.parametrize("piece", [*PIECES, *BUSY_PIECES])
def test_the_time_that_a_caption_takes_grows_with_its_length(dictionary_linker, piece):
    def seconds(length):
        caption = piece * (length // len(piece))
        before = time.process_time()
        dictionary_linker.link([caption])
        return time.process_time() - before

    seconds(100)
    short, long = (min(seconds(length) for _ in range(3)) for length in (10_000, 80_000))
    # Eight times as long: 8 times the time, or 64 times where each part looks at all others.
    assert long < 0.1 or long < 24 * short


LABELLED = sorted((Path(__file__).parents[4] / "fixtures/assertion").glob("*.jsonl"))


@pytest.mark.parametrize("file", LABELLED, ids=lambda file: file.stem)
def test_no_caption_is_passed_over_that_has_a_trigger(dictionary_linker, file):
    captions = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    for linked in dictionary_linker.link(captions):
        spans = [(mention.start, mention.end) for mention in linked.mentions]
        assert [mention.assertion for mention in linked.mentions] == assess(linked.caption, spans), linked.caption


def test_threads_share_a_linker(vocabulary):
    captions = [
        f"{word}s and {word}ing of the lung {i}"
        for i in range(50)
        for word in ("fracture", "nodule", "effusion", "calcification")
    ]
    expected = build_linker("dictionary", vocabulary).link(captions)
    shared = build_linker("dictionary", vocabulary)
    with ThreadPoolExecutor(4) as pool:
        assert all(answer == expected for answer in pool.map(shared.link, [captions] * 8))


def test_index_is_compiled_when_missing_or_made_from_another_vocabulary(vocabulary, tmp_path):
    build_vocabulary(EXAMPLE, tmp_path / "v")
    example = open_vocabulary(tmp_path / "v")
    with pytest.raises(NotFound):
        open_name_index(index_folder(tmp_path / "v"), example)
    build_name_index(vocabulary, index_folder(tmp_path / "v"))
    with pytest.raises(BrokenArtefact, match="a vocabulary other than"):
        open_name_index(index_folder(tmp_path / "v"), example)
    linked = build_linker("dictionary", example).link(["Chest X-ray with pleural effusion"])[0]
    assert {"C0032227"} <= {mention.cui for mention in linked.mentions}
    open_name_index(index_folder(tmp_path / "v"), example)


def test_unknown_kind_is_refused(vocabulary):
    with pytest.raises(InvalidInput, match="no linker is called 'magic'"):
        build_linker("magic", vocabulary)


def test_bounded_memories_do_not_change_answers(vocabulary, dictionary_linker, monkeypatch):
    captions = ["Pleural effusion and cardiomegaly", "femur fracture", "edema of the lungs"] * 3
    expected = dictionary_linker.link(captions)
    monkeypatch.setattr("kg_service.linking.dictionary.dictionary._MEMO_SIZE", 1)
    monkeypatch.setattr("kg_service.linking.dictionary.tokens._MAX_ROWS", 1)
    assert build_linker("dictionary", vocabulary).link(captions) == expected
