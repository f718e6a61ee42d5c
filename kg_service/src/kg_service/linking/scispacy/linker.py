"""The scispacy linker: mentions from a spaCy pipeline and scispacy's AbbreviationDetector, concepts by character 3-grams.

Mentions come from a spaCy pipeline with a named-entity recogniser, such as scispacy's `en_core_sci_sm`, where the user names
one. Without one a blank English pipeline has none: runs of up to five words that nearly equal a name stand in for it, which
finds little beyond literal names and is slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal

from nbclip.errors import InvalidInput
from pydantic import Field

from kg_service.linking.assertion import assess_plain
from kg_service.linking.languages import languages_of
from kg_service.linking.linkers import LinkerKind
from kg_service.linking.model import LinkCandidate, LinkedCaption, Mention
from kg_service.linking.plain_text import PlainText, read_plain
from kg_service.linking.scispacy.knowledge import build_candidate_generator, import_scispacy, open_published_generator
from kg_service.linking.scispacy.trigrams import ensure_trigram_index
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary

_SURROGATE = re.compile("[\ud800-\udfff]")
_CUI = re.compile(r"C\d{7}")
_NEIGHBOURS = 30
_MAX_WORDS = 5
_NEARLY_EQUAL = 0.9
_AS_LONG = 0.75
_CAPTIONS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class ScispacySettings(LinkerSettings):
    """`LinkerSettings` and more."""

    model: Annotated[
        str, Field(description="name or folder of a spaCy pipeline that finds mentions (scispacy only); empty: a blank one")
    ] = ""
    knowledge_base: Annotated[
        Literal["", "umls", "mesh", "rxnorm", "go", "hpo"],
        Field(
            description="knowledge base that scispacy publishes, from its cache (scispacy only); empty: the vocabulary's names"
        ),
    ] = ""


class ScispacyLinker:
    """Links what a spaCy pipeline finds; assertion by the same rules as the dictionary linker."""

    def __init__(self, vocabulary: Vocabulary, settings: ScispacySettings) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._languages = languages_of(vocabulary)
        self._pipeline = _build_pipeline(settings.model)
        published = settings.knowledge_base
        floor = settings.min_score
        self._generator = (
            open_published_generator(published, floor) if published else build_candidate_generator(vocabulary, floor)
        )
        self._translated: dict[str, str | None] = {}
        self._lock = Lock()

    @property
    def name(self) -> str:
        """`scispacy-<version>-<pipeline>`, and the published knowledge base if there is one."""
        pipeline = Path(self._settings.model).name or "blank"
        return "-".join(filter(None, ("scispacy", metadata.version("scispacy"), pipeline, self._settings.knowledge_base)))

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order; a caption's mentions do not depend on its batch."""
        # The detector keeps the caption's abbreviations in its matcher while it works.
        with self._lock:
            blocks = (captions[start : start + _CAPTIONS_AT_ONCE] for start in range(0, len(captions), _CAPTIONS_AT_ONCE))
            return [linked for block in blocks for linked in self._link_block(block)]

    def _link_block(self, captions: Sequence[str]) -> Iterator[LinkedCaption]:
        # spaCy refuses lone surrogates; a stand-in of the same length keeps the spans. One document at a time: a trained
        # pipeline's last bits depend on what it reads together.
        plain = list(map(read_plain, captions))
        documents = [self._pipeline(_SURROGATE.sub("\ufffd", each.text)) for each in plain]
        spans = [_entities(document) for document in documents] if self._settings.model else self._name_like(documents)
        meanings = list(dict.fromkeys(_meaning(span) for found in spans for span in found))
        candidates = self._generator(meanings, _NEIGHBOURS)
        ranked = {meaning: self._ranked(meaning, found) for meaning, found in zip(meanings, candidates, strict=True)}
        for caption, each, found in zip(captions, plain, spans, strict=True):
            yield _linked(caption, each, [(span, *ranked[_meaning(span)]) for span in found], self._languages)

    def _ranked(self, text: str, candidates: Iterable[Any]) -> tuple[str, list[LinkCandidate]]:
        """How the text matched, and its concepts.

        The most similar comes first, then one that is called just so, then the one the vocabulary knows most of, then the lower
        CUI.
        """
        wanted = set(self._settings.semantic_types)
        rows: dict[str, tuple[float, bool, int, str]] = {}
        for candidate in candidates:
            cui = self._own_cui(candidate.concept_id)
            score = round(max(candidate.similarities), 4)
            if cui is None or score < self._settings.min_score:
                continue
            index = self._vocabulary.index(cui)
            if not wanted or not wanted.isdisjoint(self._vocabulary.semantic_types_at(index)):
                row = (-score, text not in candidate.aliases, -self._vocabulary.evidence_at(index), cui)
                rows[cui] = min(row, rows.get(cui, row))
        best = sorted(rows.values())[: self._settings.candidates + 1]
        rule = "exact" if best and not best[0][1] else "similarity"
        return rule, [LinkCandidate(cui, self._vocabulary.preferred_name(cui), -negative) for negative, *_, cui in best]

    def _own_cui(self, concept: str) -> str | None:
        """The vocabulary's concept for one of the knowledge base, if it has it.

        The published MeSH has its own ids: its concepts are found by their name.
        """
        if concept in self._vocabulary:
            return concept
        if concept not in self._translated:
            self._translated[concept] = None if _CUI.fullmatch(concept) else self._named_alike(concept)
        return self._translated[concept]

    def _named_alike(self, concept: str) -> str | None:
        name = self._generator.kb.cui_to_entity[concept].canonical_name
        alike = [found.cui for found in self._vocabulary.search(name) if name in self._vocabulary.names(found.cui)]
        return min(alike, key=lambda cui: (-self._vocabulary.evidence_at(self._vocabulary.index(cui)), cui), default=None)

    def _name_like(self, documents: Sequence[Any]) -> list[list[Any]]:
        """Spans that stand in for entities: defined abbreviations, and the runs of words that most nearly equal a name."""
        runs = [list(_word_runs(document)) for document in documents]
        texts = list(dict.fromkeys(span.text for spans in runs for span in spans))
        nearest = replace(self._generator, floor=_NEARLY_EQUAL)(texts, 1)
        similar = {text: _similarity(text, found[0]) for text, found in zip(texts, nearest, strict=True) if found}
        chosen = []
        for document, spans in zip(documents, runs, strict=True):
            spans = [span for span in spans if similar.get(span.text, 0) > 0]
            spans.sort(key=lambda span: (-similar[span.text], span.start - span.end, span.start))
            chosen.append(_without_overlaps([*_abbreviations(document), *spans]))
        return chosen


def _linked(
    caption: str, plain: PlainText, found: Iterable[tuple[Any, str, list[LinkCandidate]]], languages: Sequence[str]
) -> LinkedCaption:
    linked = [(span, rule, ranked) for span, rule, ranked in found if ranked]
    assertions = assess_plain(plain.text, [(span.start_char, span.end_char) for span, *_ in linked], languages)
    mentions = []
    for (span, rule, (best, *others)), assertion in zip(linked, assertions, strict=True):
        rule = "abbreviation" if span._.long_form is not None else rule
        start, end = plain.outer(span.start_char, span.end_char)
        text = caption[start:end]
        mentions.append(Mention(best.cui, best.name, text, start, end, best.score, rule, assertion, tuple(others)))
    return LinkedCaption(caption, tuple(sorted(mentions, key=lambda mention: (mention.start, -mention.end, mention.cui))))


def _entities(document: Any) -> list[Any]:
    """What the pipeline recognised, and the defined abbreviations that it overlooked."""
    return _without_overlaps([*document.ents, *_abbreviations(document)])


def _abbreviations(document: Any) -> list[Any]:
    """Where defined abbreviations are used, in order. The detector has them in a set, or as dicts if it is told to."""
    found = (
        document[each["short_start"] : each["short_end"]] if isinstance(each, dict) else each for each in document._.abbreviations
    )
    return sorted(found, key=lambda span: (span.start, -span.end))


def _meaning(span: Any) -> str:
    """The text that is looked up: an abbreviation's definition, or the span's own."""
    long_form = span._.long_form
    return str(span.text if long_form is None else getattr(long_form, "text", long_form))


def _similarity(text: str, candidate: Any) -> float:
    """Of a run of words and its nearest name; 0 if one is much longer: 3-grams that no name has are not in the cosine."""
    lengths = len(text), len(candidate.aliases[0])
    return round(max(candidate.similarities), 3) if min(lengths) >= _AS_LONG * max(lengths) else 0.0


def _word_runs(document: Any) -> Iterator[Any]:
    for sentence in document.sents:
        for start in range(sentence.start, sentence.end):
            for end in range(start + 1, min(start + _MAX_WORDS, sentence.end) + 1):
                if document[end - 1].is_bracket:
                    break
                if _is_content(document[start]) and _is_content(document[end - 1]):
                    yield document[start:end]


def _is_content(token: Any) -> bool:
    return not (token.is_stop or token.is_punct or token.is_space)


def _without_overlaps(spans: Iterable[Any]) -> list[Any]:
    """The spans in order, without those that touch an earlier one."""
    taken: set[int] = set()
    chosen: list[Any] = []
    for span in spans:
        words = range(span.start, span.end)
        if taken.isdisjoint(words):
            taken.update(words)
            chosen.append(span)
    return chosen


def _build_pipeline(model: str) -> Any:
    # The second brings pysbd, which spaCy would import with its warnings.
    for module in ("abbreviation", "custom_sentence_segmenter"):
        import_scispacy(module)
    import spacy

    if model:
        try:
            # Concepts are found here; scispacy's own linker would ask a server for its knowledge base.
            pipeline = spacy.load(model, exclude=["scispacy_linker"])
        except OSError as error:
            raise InvalidInput(f"spaCy has no pipeline {model!r}", hint="install it, or give its folder") from error
    else:
        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
    if "abbreviation_detector" not in pipeline.pipe_names:
        pipeline.add_pipe("abbreviation_detector")
    # The detector runs an empty matcher on captions that define nothing, and spaCy warns of empty matchers: this one is never
    # empty, and never matches, for no token holds a space between letters.
    detector: Any = pipeline.get_pipe("abbreviation_detector")
    detector.global_matcher.add("never", [[{"ORTH": "never a token"}]])
    return pipeline


LINKER = LinkerKind(settings=ScispacySettings(), open=ScispacyLinker, compile=ensure_trigram_index)
