import numpy as np
import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.evaluation.prompts import ensemble, read_templates
from nbclip_trainer.runs.results import PROMPTS


def test_a_class_is_the_mean_of_its_sentences():
    sentences = {"a CT": [1, 0], "CT of": [0, 1], "a MRI": [1, 0], "MRI of": [0.6, 0.8]}
    found = ensemble(["CT", "MRI"], ["a {}", "{} of"], lambda asked: np.array([sentences[one] for one in asked], np.float32))
    np.testing.assert_allclose(found[0], [np.sqrt(0.5)] * 2, rtol=1e-6)
    np.testing.assert_allclose(found[1], np.array([1.6, 0.8]) / np.hypot(1.6, 0.8), rtol=1e-6)


def test_every_packaged_template_names_the_class_once():
    assert all(template.count("{}") == 1 for template in PROMPTS)
    assert len(set(PROMPTS)) == len(PROMPTS)


def test_templates_stand_one_a_line(tmp_path):
    (tmp_path / "prompts.txt").write_text("# ours\nan X-ray of the {}\n\n  {}: seen\n")
    assert read_templates(tmp_path / "prompts.txt") == ("an X-ray of the {}", "{}: seen")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\nan X-ray\n", r"prompts.txt:2: 'an X-ray' has not exactly one \{\}"),
        ("{} or {}\n", r"prompts.txt:1: '\{\} or \{\}' has not exactly one"),
        ("# nothing\n\n", r"prompts.txt: no template"),
        (None, r"prompts.txt: can't be read"),
        (b"\xff\xfe{}", r"prompts.txt: can't be read"),
    ],
)
def test_templates_that_cannot_be_used_are_named(tmp_path, text, message):
    path = tmp_path / "prompts.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=message):
        read_templates(path)
