import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.plain_text import plain, read_plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pulmo\u00adnary fibro\u200bsis\ufeff", "pulmonary fibrosis"),
        ("Crohn\u02bcs, Crohn\u2019s, Crohn\u2032s", "Crohn's, Crohn's, Crohn's"),
        ("\u0153dema, \u0152dema, c\u00e6cum", "oedema, Oedema, caecum"),
        ("calci\ufb01ed, in\ufb02amed, e\ufb00usion, a\ufb03x", "calcified, inflamed, effusion, affix"),
        ("post\u2011operative non\u2010enhancing \u2212ve 1\u20132", "post-operative non-enhancing -ve 1-2"),
        ("pleural\u00a0effusion\u2009seen", "pleural effusion seen"),
        ("\uff23\uff34 \u2163", "CT IV"),
        ("na\u00efve \u03b1-angle \u2014 \U0001fac1", "na\u00efve \u03b1-angle \u2014 \U0001fac1"),
    ],
)
def test_characters_become_plain(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        ("No evidence of\npneumothorax.", "No evidence of pneumothorax."),
        ("Small right pleural\neffusion is seen.", "Small right pleural effusion is seen."),
        ("FINDINGS:  There is no\n pleural effusion.", "FINDINGS:  There is no  pleural effusion."),
        ("no pleural\r\neffusion", "no pleural  effusion"),
        ("there is a small left pleural\neffusion.", "there is a small left pleural effusion."),
        ("Opacity suggestive of\nCrohn disease", "Opacity suggestive of Crohn disease"),
        ("NO FOCAL\nCONSOLIDATION", "NO FOCAL CONSOLIDATION"),
        ("THERE IS NO EVIDENCE OF\nPNEUMOTHORAX", "THERE IS NO EVIDENCE OF PNEUMOTHORAX"),
        ("a non-\ncalcified nodule", "a non-calcified nodule"),
        ("Small effusion (left\nside) and", "Small effusion (left side) and"),
    ],
)
def test_lines_that_were_broken_at_a_width_are_one(lines, joined):
    assert plain(lines) == joined


def test_the_width_of_lines_that_were_surely_broken_tells_of_the_others():
    broken = "There is no evidence of a fracture of the\nskull base. The tonsils are low because of"
    assert plain(f"{broken}\na malformation that neurologists call\nChiari.").endswith(" neurologists call Chiari.")
    assert plain(f"{broken}\na malformation\nNormal").endswith("malformation\nNormal")


@pytest.mark.parametrize(
    "lines",
    [
        "No pneumothorax\nPleural effusion",
        "No pneumothorax\n\npleural effusion",
        "NO PNEUMOTHORAX\nSMALL EFFUSION",
        "no pneumothorax\nsmall effusion",
        "Findings:\nno pneumothorax\nsmall effusion",
        "- no fracture\n- effusion",
        "1. No infarct\n2. Sinusitis",
        "a) no stone\nb) cyst",
        "No consolidation\nPLEURA: effusion",
        "Hernia\nno obstruction\ngallstones",
        "No focal consolidation, pleural effusion, or pneumothorax\nMild cardiomegaly with congestion",
        "No pneumonia\n?embolism",
        "Normal.\nNo mass",
    ],
)
def test_lines_of_a_list_stay_apart(lines):
    assert plain(lines) == lines


@given(st.text(st.sampled_from("ab .,-\n\r\u00ad\u0153\ufb03\u200b\u2028é’A"), max_size=40))
def test_each_part_of_a_plain_text_leads_back_to_its_own_characters(text):
    read = read_plain(text)
    places = [read.outer(i, i + 1) for i in range(len(read.text))]
    assert places == sorted(places)
    for i, (start, end) in enumerate(places):
        assert end == start + 1
        assert read.text[i] in plain(text[start]) or text[start] in "\r\n\u2028"
        assert read.inner(start, end)[0] <= i < read.inner(start, end)[1]
    assert plain(read.text) == read.text or "\n" in read.text


def test_ascii_without_line_ends_is_left_alone():
    text = "Chest X-ray: no effusion."
    assert read_plain(text) == (text, None)
