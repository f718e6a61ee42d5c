import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.building import tokenizer_of
from nbclip_trainer.models.captions import Cut, tokenized
from open_clip import SimpleTokenizer

TOKENIZER = SimpleTokenizer(context_length=8)


def test_captions_are_counted_that_are_longer_than_the_context():
    """A word of the vocabulary is a token; a start and an end are added."""
    fits, cut, longer = (" ".join(["bone"] * count) for count in (6, 7, 30))
    tokens, found = tokenized(TOKENIZER, [fits, cut, longer, "x"])
    assert tokens.shape == (4, 8)
    assert found == Cut(captions=2, longest=32, context=8)
    assert str(found) == (
        "captions cut at the 8 tokens that the text tower reads: 2, the longest of 32; targets come from whole captions"
    )
    assert str(tokenized(TOKENIZER, [fits, "!"])[1]) == ""


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4))
def test_the_count_is_that_of_the_tokenizers_own_words(captions):
    lengths = [len(TOKENIZER.encode(caption)) + 2 for caption in captions]
    cut = [length for length in lengths if length > 8]
    assert tokenized(TOKENIZER, captions)[1] == Cut(len(cut), max(cut, default=0), 8)


def test_the_tokenizer_is_that_of_the_model_without_the_model():
    assert tokenizer_of(load_config("tiny-clip").model)(["a"]).shape == (1, 24)
    assert tokenizer_of(load_config("paper").model)(["a"]).shape == (1, 77)
    with pytest.raises(InvalidInput, match="no such model"):
        tokenizer_of(load_config("paper", ["model.name=ViT-B-61"]).model)
