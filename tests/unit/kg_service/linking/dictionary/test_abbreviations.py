import pytest
from kg_service.linking.dictionary.abbreviations import find_definitions, find_uses
from kg_service.linking.tables import read_table

CASES = [
    ("Hepatocellular carcinoma (HCC) is seen", {"HCC": "Hepatocellular carcinoma"}),
    ("the superior vena cava (SVC) and the inferior vena cava (IVC)", {"SVC": "superior vena cava", "IVC": "inferior vena cava"}),
    ("magnetic resonance cholangiopancreatography (MRCP).MRCP image", {"MRCP": "magnetic resonance cholangiopancreatography"}),
    ("GIST (gastrointestinal stromal tumor)", {"GIST": "gastrointestinal stromal tumor"}),
    ("ground-glass opacities (GGO)", {"GGO": "ground-glass opacities"}),
    ("CTA = computed tomography angiography, PV = portal vein", {"CTA": "computed tomography angiography", "PV": "portal vein"}),
    ("LV: left ventricle; RA: right atrium", {"LV": "left ventricle", "RA": "right atrium"}),
    ("arrow). LA, left atrium; LV, left ventricle.", {"LA": "left atrium", "LV": "left ventricle"}),
    ("(RA - right atrium, PV – portal vein)", {"RA": "right atrium", "PV": "portal vein"}),
    ("Abbreviation: CT, computed tomography.", {"CT": "computed tomography"}),
    ("(LAD, left anterior descending artery; RC", {"LAD": "left anterior descending artery"}),
    ("Aortic aneurysms (AAs) are seen", {"AAs": "Aortic aneurysms", "AA": "Aortic aneurysms"}),
    (
        "CTAs (computed tomography angiographies)",
        {"CTAs": "computed tomography angiographies", "CTA": "computed tomography angiographies"},
    ),
    ("PVs = portal veins", {"PVs": "portal veins", "PV": "portal veins"}),
    ("acute respiratory distress syndrome (ARDS)", {"ARDS": "acute respiratory distress syndrome"}),
    ("On MRI, multiple rounded images", {}),
    ("CT, chest and thigh", {}),
    ("The right STA (short arrows)", {}),
    ("a mass (arrow)", {}),
    ("a mass (A) and its neck (B)", {}),
    ("heart failure (white arrow)", {}),
    ("(HCC)", {}),
    ("unrelated words (XYZ)", {}),
    ("", {}),
    ("((((", {}),
]


@pytest.mark.parametrize(("caption", "expected"), CASES)
def test_definitions(caption, expected):
    found = {definition.short: caption[definition.start : definition.end] for definition in find_definitions(caption)}
    assert found == expected


@pytest.mark.scispacy
def test_agrees_with_scispacys_detector_on_parenthesised_definitions(scispacy_linker):
    for caption, expected in CASES[:6]:
        if "=" not in caption and expected:
            document = scispacy_linker._pipeline(caption)
            theirs = {short.text: short._.long_form.text for short in document._.abbreviations}
            assert theirs.items() <= expected.items()


def test_uses_are_whole_words_or_plurals():
    caption = "HCC, HCCs and HCCX; non-HCC"
    assert find_uses(caption, {"HCC"}) == [(0, 3, "HCC"), (5, 8, "HCC")]


def test_the_list_of_radiology_is_well_formed():
    rows = read_table("radiology.tsv")
    shorts = {short for short, *_ in rows}
    assert len({tuple(row) for row in rows}) == len(rows) >= 150
    for short, long_form, *context in rows:
        assert len(context) <= 1
        assert any(map(str.isupper, short))
        assert long_form[0].isalnum()
        # Words of a context are looked for in casefolded captions, but for short forms.
        words = " ".join(context).split()
        assert all(word == word.casefold() or word in shorts for word in words), context
        assert bool(words) == bool(context)
        assert short not in words


def test_no_reading_of_an_abbreviation_hides_behind_one_that_always_holds():
    groups: dict[str, list[list[str]]] = {}
    for short, _, *context in read_table("radiology.tsv"):
        groups.setdefault(short, []).append(context)
    for short, contexts in groups.items():
        assert sorted(contexts, key=lambda context: not context) == contexts, short
