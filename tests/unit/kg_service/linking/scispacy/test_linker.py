import sys

import pytest
from kg_service.linking.scispacy.linker import ScispacyLinker, ScispacySettings
from nbclip.errors import InvalidInput, NBClipError


def test_missing_scispacy_gives_the_install_line_where_python_can_have_it(vocabulary, monkeypatch):
    monkeypatch.setitem(sys.modules, "scispacy.abbreviation", None)
    way_out = r"needs Python 3\.11 or 3\.12" if sys.version_info >= (3, 13) else r"nbclip-kg-service\[scispacy\]"
    with pytest.raises(NBClipError, match=way_out):
        ScispacyLinker(vocabulary, ScispacySettings())


@pytest.mark.scispacy
def test_unknown_pipeline_is_refused(vocabulary):
    with pytest.raises(InvalidInput, match="no pipeline 'en_core_sci_nosuch'"):
        ScispacyLinker(vocabulary, ScispacySettings(model="en_core_sci_nosuch"))


@pytest.mark.scispacy
def test_users_own_pipeline_finds_the_mentions(vocabulary, tmp_path):
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "ENTITY", "pattern": "pleural effusions"}])
    pipeline.to_disk(tmp_path / "pipeline")
    linker = ScispacyLinker(vocabulary, ScispacySettings(model=str(tmp_path / "pipeline")))
    assert linker.name.endswith("-pipeline")
    mentions = linker.link(["no pleural effusions, cardiomegaly"])[0].mentions
    assert [(mention.text, mention.cui, mention.assertion) for mention in mentions] == [
        ("pleural effusions", "C0032227", "absent")
    ]


def pipeline_with(folder, *patterns, **detector):
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "ENTITY", "pattern": pattern} for pattern in patterns])
    if detector:
        pipeline.add_pipe("abbreviation_detector", config=detector)
    pipeline.to_disk(folder)
    return str(folder)


@pytest.mark.scispacy
@pytest.mark.parametrize("detector", [{}, {"make_serializable": False}, {"make_serializable": True}])
def test_abbreviations_that_the_pipeline_overlooks_are_linked_to_what_they_stand_for(vocabulary, tmp_path, detector):
    model = pipeline_with(tmp_path / "pipeline", "Hepatocellular carcinoma", **detector)
    linker = ScispacyLinker(vocabulary, ScispacySettings(model=model))
    mentions = linker.link(["Hepatocellular carcinoma (HCC). No HCC left."])[0].mentions
    assert [(mention.text, mention.cui, mention.rule, mention.assertion) for mention in mentions] == [
        ("Hepatocellular carcinoma", "C0019204", "similarity", "present"),
        ("HCC", "C0019204", "abbreviation", "present"),
        ("HCC", "C0019204", "abbreviation", "absent"),
    ]


@pytest.mark.scispacy
def test_a_pipeline_with_scispacys_linker_needs_no_network(vocabulary, tmp_path):
    model = pipeline_with(tmp_path / "pipeline", "pneumothorax")
    config = tmp_path / "pipeline" / "config.cfg"
    text = config.read_text().replace('["entity_ruler"]', '["entity_ruler","scispacy_linker"]')
    config.write_text(text + '\n[components.scispacy_linker]\nfactory = "scispacy_linker"\n')
    [mention] = ScispacyLinker(vocabulary, ScispacySettings(model=model)).link(["pneumothorax"])[0].mentions
    assert mention.cui == "C0032326"


@pytest.mark.scispacy
def test_a_name_in_its_own_letters_wins_over_one_that_differs_in_case(vocabulary, tmp_path):
    model = pipeline_with(tmp_path / "pipeline", "GGO", "Nodules", "femur fractures")
    mentions = ScispacyLinker(vocabulary, ScispacySettings(model=model)).link(["GGO, Nodules, femur fractures"])[0].mentions
    assert [(mention.cui, mention.rule, mention.score == 1) for mention in mentions] == [
        ("C0175704", "exact", True),
        ("C0028259", "similarity", False),
        ("C0015802", "similarity", False),
    ]


@pytest.mark.scispacy
def test_min_score_1_takes_what_equals_a_name_but_for_order_and_case(vocabulary, tmp_path):
    model = pipeline_with(tmp_path / "pipeline", "effusion pleural", "pleural effusions")
    mentions = ScispacyLinker(vocabulary, ScispacySettings(model=model, min_score=1)).link(
        ["effusion pleural, pleural effusions"]
    )
    assert [(mention.text, mention.score) for mention in mentions[0].mentions] == [("effusion pleural", 1.0)]
