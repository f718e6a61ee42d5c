"""Words to stems: what two spellings of one name have in common.

A token becomes a tuple of stems: none for a stop word, one for most words, several for a compound such as `xray`. Case,
accents, possessive s, British spelling, Latin and English plurals, Greek letters and Roman numerals are levelled; each
word then goes through the Snowball English stemmer (Porter 2).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

import Stemmer

from kg_service.linking.tables import read_table

MAX_STEMS = 8
"""Names and mentions of more stems than this are not looked at."""

_TAGS = (
    "finding|disorder|procedure|body structure|observable entity|qualifier value|morphologic abnormality|situation|"
    "physical object|substance|organism|regime/therapy|event|person|attribute|product|specimen|cell structure|cell"
)
_NAME_TAIL = re.compile(rf"(?:,? \(?NOS\)?| \((?:{_TAGS})\))+$", re.IGNORECASE)
_POSSESSIVE = re.compile("['’`]s$", re.IGNORECASE)
_STOP_WORDS = frozenset({"the", "an", "of", "in", "to", "for", "by", "on", "at"})
_ROMAN = {"II": "2", "III": "3", "IV": "4", "VI": "6", "VII": "7", "VIII": "8", "IX": "9", "XI": "11", "XII": "12"}
_GREEK = {
    letter: unicodedata.name(letter).rsplit(" ", 1)[-1].lower() for letter in map(chr, range(0x3B1, 0x3CA)) if letter != "ς"
}
_SPELLINGS = (
    (re.compile(r"ae$"), "a"),
    (re.compile(r"(?<=.)(?:ae|oe)(?=[a-z]{2})"), "e"),
    (re.compile(r"^(?:ae|oe)(?=[a-z]{3})"), "e"),
    (re.compile(r"(sta|no|mo|the|ly|ro|po|to|co)ses$"), r"\1sis"),
    (re.compile(r"(?<=[a-z]{4})i$"), "us"),
    (re.compile(r"(?<=[a-z]{3})is(e|ed|es|ing|ation|ations)$"), r"iz\1"),
    (re.compile(r"lys(e|ed|es|ing)$"), r"lyz\1"),
    (re.compile(r"^(tum|col|od|lab|vap|behavi|fav)our"), r"\1or"),
    (re.compile(r"^(cent|fib|met|lit|calib)re"), r"\1er"),
    (re.compile(r"sulph"), "sulf"),
    (re.compile(r"^grey"), "gray"),
)
# Adjectives of findings stand for the finding: hypertensive, ischemic, necrotic.
_ADJECTIVES = (
    (re.compile(r"(?<=[a-z]{2})tensive$"), "tension"),
    (re.compile(r"(?<=[a-z]{3})(?<!bi)(?<!narc)(?<!hypn)otic$"), "osis"),
    (re.compile(r"(?<=[a-z]{2})([ep]n|pleg|ur|em|eg)ic$"), r"\1ia"),
    (re.compile(r"(?<=[a-z]{3})itic$"), "itis"),
    (re.compile(r"(?<=[a-z]{2})(meg|ceph)alic$"), r"\1aly"),
    (re.compile(r"rrhagic$"), "rrhage"),
    (re.compile(r"(?<=[a-z]{3})toxic$"), "toxicity"),
    (re.compile(r"trophic$"), "trophy"),
    (re.compile(r"(?<=[a-z]{2}[oe])matous$"), "ma"),
    (re.compile(r"mbolic$"), "mbolism"),
    (re.compile(r"aneurysmal$"), "aneurysm"),
)
_PLURALS = (
    (re.compile(r"(?<=[a-z]{2})ies$"), "y"),
    (re.compile(r"(?<=ss|ch|sh)es$|(?<=[xz])es$"), ""),
    (re.compile(r"(?<=[^sui])s$"), ""),
)


@lru_cache(256)
def hash_of(text: str) -> int:
    """64 bits that stand for a text, the same in any process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def strip_name(name: str) -> str:
    """A vocabulary's name without what belongs to its bookkeeping: `, NOS`, `(disorder)`."""
    return _NAME_TAIL.sub("", name)


@dataclass(frozen=True, slots=True)
class Word:
    """A token, normalised.

    Attributes:
        stems: Porter 2 stems; none for a stop word.
        lemmas: the same words with spelling and plural levelled only, so that `severity` and `several` differ.
    """

    stems: tuple[str, ...]
    lemmas: tuple[str, ...]


class Normaliser:
    """Stems and lemmas of tokens. Computes each time; frequent callers cache (`tokens.WordTable`)."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english", 0)
        self._variants = {form: tuple(words.split()) for form, words in read_table("variants.tsv")}

    def __call__(self, token: str) -> Word:
        """The stems of a token, and what goes with them. Not for several threads at once: the stemmer works in its own fields."""
        lemmas = self.lemmas(token)
        return Word(tuple(map(self._stem, lemmas)), lemmas)

    def lemmas(self, token: str) -> tuple[str, ...]:
        """The lemmas alone, which is faster."""
        if token in _ROMAN:
            return (_ROMAN[token],)
        word = token.replace("-", "").replace(" ", "")
        if not word.isalnum():
            word = _POSSESSIVE.sub("", word)
        if not word.isascii():
            word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
        bare = word.casefold()
        if not bare or bare in _STOP_WORDS:
            return ()
        return tuple(map(_lemma, self._variants.get(bare, (_GREEK.get(bare, bare),))))

    def _stem(self, lemma: str) -> str:
        return str(self._stemmer.stemWord(lemma)) if _is_inflected(lemma) else lemma


def _lemma(word: str) -> str:
    if not _is_inflected(word) or not _is_levelled().search(word):
        return word
    for pattern, replacement in (*_SPELLINGS, *_ADJECTIVES):
        word = pattern.sub(replacement, word)
    for pattern, replacement in _PLURALS:
        if pattern.search(word):
            return pattern.sub(replacement, word)
    return word


@cache
def _is_levelled() -> re.Pattern[str]:
    """Matches in every word that a pattern changes: most words need one search instead of twenty."""
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in (*_SPELLINGS, *_ADJECTIVES, *_PLURALS)))


def _is_inflected(word: str) -> bool:
    return len(word) > 3 and word.isalpha()
