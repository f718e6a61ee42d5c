"""What the compiled files mean, for those who write and those who read them.

concept_cui      int32 [N]      CUI numbers (C0024109 is 24109), ascending; the position here is the concept's index.
                                0 to N - 1 in a vocabulary with other ids, which alone has the next two
concept_id_offsets, concept_id_data   the ids, ascending (`strings.Strings`)
concept_names    int64 [N + 1]  row pointers into the names; the first name of a concept is its preferred one
name_offsets, name_data         the names' text (`strings.Strings`)
name_concept     int32 [M]      concept index
name_key         int64 [M]      rank, precedence, source and term type, packed; orders the names of a concept
concept_types    int64 [N + 1]  row pointers into `types`
types            uint8 [T]      positions in the manifest's `semantic_types`
parents_of       int64 [N + 1]  row pointers into `parents` (int32 [E], ascending) and `edge_source` (int32 [E])
children_of      int64 [N + 1]  row pointers into `children` (int32 [E], ascending)
word_offsets, word_data         lower-case words of all names, sorted
word_names       int64 [W + 1]  row pointers into `postings`
postings         int32 [P]      positions of the names that have the word
relations_of     int64 [N + 1]  row pointers into `relation` (uint16 [R], positions in the manifest's `relations`, ascending in a
                                row), `relation_target` (int32 [R], ascending in a relation) and `relation_source` (int32 [R])
cut_edges.tsv                   is_a edges left out because they closed a cycle
"""

from __future__ import annotations

import re

from nbclip.errors import InvalidId

KIND = "vocabulary"
FORMAT = 3
WITHOUT_RELATIONS = 2
"""What is built without relations has this format and the same bytes as before there were any."""
WITH_IDS = 4
"""What is built of another vocabulary than the UMLS; its relations may be none."""
UNKNOWN = "unknown"
"""The release or licence that nobody named."""

RANK_SHIFT, PRECEDENCE_SHIFT, SOURCE_SHIFT, CODE_MASK = 60, 40, 20, (1 << 20) - 1
"""A name's key: rank << 60 | precedence << 40 | source's position << 20 | term type's position."""

_CUI = re.compile(r"C[0-9]{7}")


def cui_number(cui: str) -> int:
    """24109 for C0024109.

    Raises:
        InvalidId: it is no CUI.
    """
    if not is_umls_cui(cui):
        raise InvalidId(f"not a CUI of the UMLS: {cui!r:.80}", hint="a CUI is C and seven digits, such as C0024109")
    return int(cui[1:])


def is_umls_cui(cui: str) -> bool:
    """Whether it is C and seven digits."""
    return _CUI.fullmatch(cui) is not None


def cui_text(number: int) -> str:
    """C0024109 for 24109."""
    return f"C{number:07d}"
