"""MedCAT 2 (Kraljevic et al., 2021), unsupervised: names from the vocabulary, contexts learned from texts without labels.

Its tokens come from spaCy's blank English pipeline with the lookup lemmatiser, for `en_core_web_md` is not on PyPI; its word
vectors are word2vec's, learned from the same texts.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from gensim.models import Word2Vec
from medcat.cat import CAT
from medcat.config import Config
from medcat.model_creation.cdb_maker import CDBMaker
from medcat.vocab import Vocab

from peers.worker import Link, Mention, main, read_names, read_texts, read_types

_SEED = 42


def build(rrf: Path, texts: Path, index: Path) -> None:
    """A model pack: concepts, word vectors, contexts."""
    random.seed(_SEED)
    np.random.seed(_SEED)  # noqa: NPY002  (what MedCAT draws from)
    pipeline = spacy.blank("en")
    pipeline.add_pipe("lemmatizer", config={"mode": "lookup"})
    pipeline.initialize()
    pipeline.to_disk(index / "en_blank")
    config = Config()
    config.general.nlp.provider = "spacy"
    config.general.nlp.modelname = str(index / "en_blank")
    _write_names(rrf, index / "names.csv")
    concepts = CDBMaker(config).prepare_csvs([str(index / "names.csv")])
    unlabelled = read_texts(texts)
    cat = CAT(concepts, _learn_words([[token.lower_ for token in pipeline.make_doc(text)] for text in unlabelled]), config)
    cat.trainer.train_unsupervised(unlabelled)
    cat.save_model_pack(str(index), pack_name="model", only_archive=False, add_hash_to_pack_name=False)
    (index / "types.json").write_text(json.dumps(read_types(rrf)))


def _write_names(rrf: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["cui", "name", "name_status"])
        # The separator of several names in a row is the bar, which no name in RRF can hold.
        rows.writerows((cui, name, "P" if preferred else "A") for cui, name, preferred in read_names(rrf))


def _learn_words(sentences: list[list[str]]) -> Vocab:
    model = Word2Vec(sentences, vector_size=200, window=8, min_count=3, epochs=10, seed=_SEED, workers=1)
    words = Vocab()
    for word in model.wv.index_to_key:
        words.add_word(word, int(model.wv.get_vecattr(word, "count")), model.wv[word])
    words.init_cumsums()
    return words


def load(index: Path, settings: dict[str, Any]) -> Link:
    """`threshold` is the least similarity of contexts; with `always`, names of a single concept are held to it too."""
    cat = CAT.load_model_pack(str(index / "model"))
    linking = cat.config.components.linking
    linking.similarity_threshold = settings["threshold"]
    linking.always_calculate_similarity = settings.get("always", False)
    if wanted := set(settings["semantic_types"]):
        types = json.loads((index / "types.json").read_text())
        linking.filters.cuis = {cui for cui, tuis in types.items() if not wanted.isdisjoint(tuis)}
        linking.filter_before_disamb = True

    def link_one(text: str) -> list[Mention]:
        found = cat.get_entities(text)["entities"].values()
        return [(entity["start"], entity["end"], entity["cui"], float(entity["acc"])) for entity in found]

    return lambda texts: [link_one(text) for text in texts]


if __name__ == "__main__":
    main(build, load)
