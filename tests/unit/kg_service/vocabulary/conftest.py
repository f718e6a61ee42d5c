"""A release of seven concepts.

C0000007 anatomy ◁─ C0000005 lung ◁─ C0000006 lobe of lung        (◁─ is "parent of")
C0000004 disease ◁─ C0000003 lung disease ◁─ C0000001 pneumonia, and C0000004 ◁─ C0000001
C0000002 fracture has no parent; C0000008 has only a French name and C0000009 only a suppressed one
"""

import gzip

import pytest


def atom(cui, text, *, lat="ENG", ts="P", stt="PF", ispref="Y", sab="MSH", tty="PT", suppress="N"):
    return f"{cui}|{lat}|{ts}|L1|{stt}|S1|{ispref}|A1||||{sab}|{tty}|X1|{text}|0|{suppress}||"


def relation(cui1, rel, cui2, rela="", sab="MSH", suppress="N"):
    return f"{cui1}|A1|AUI|{rel}|{cui2}|A2|AUI|{rela}|R1||{sab}|{sab}|||{suppress}||"


def semantic_type(cui, tui, name):
    return f"{cui}|{tui}|A1|{name}|AT1||"


ATOMS = [
    atom("C0000001", "Pneumonia"),
    atom("C0000001", "Lung inflammation", ts="S", tty="ET"),
    atom("C0000001", "Pneumonias", stt="VO", ispref="N", sab="NCI", tty="SY"),
    atom("C0000001", "Pneumonia", stt="VC", ispref="N", sab="NCI"),
    atom("C0000001", "Pneumonie", lat="FRE"),
    atom("C0000001", "old pneumonia", suppress="O"),
    atom("C0000002", 'Fracture "simple"'),
    atom("C0000003", "Lung Diseases"),
    atom("C0000004", "Disease", sab="NCI"),
    atom("C0000005", "Lung"),
    atom("C0000006", "Lobe of lung", sab="NCI"),
    atom("C0000007", "Anatomy"),
    atom("C0000008", "seulement", lat="FRE"),
    atom("C0000009", "suppressed", suppress="Y"),
]
RELATIONS = [
    relation("C0000003", "CHD", "C0000001", "isa"),
    relation("C0000001", "PAR", "C0000003", "inverse_isa"),
    relation("C0000003", "CHD", "C0000001", "isa", sab="NCI"),
    relation("C0000004", "RN", "C0000003", "isa"),
    relation("C0000001", "RB", "C0000004", "inverse_isa"),
    relation("C0000007", "CHD", "C0000005"),
    relation("C0000006", "PAR", "C0000005"),
    relation("C0000006", "PAR", "C0000007", "part_of"),
    relation("C0000002", "CHD", "C0000002", "isa"),
    relation("C0000004", "CHD", "C0000002", "isa", suppress="Y"),
    relation("C0000004", "CHD", "C0000009", "isa"),
    relation("C0000002", "RO", "C0000005", "finding_site_of"),
]
TYPES = [
    semantic_type("C0000001", "T047", "Disease or Syndrome"),
    semantic_type("C0000001", "T046", "Pathologic Function"),
    semantic_type("C0000002", "T037", "Injury or Poisoning"),
    semantic_type("C0000003", "T047", "Disease or Syndrome"),
    semantic_type("C0000004", "T047", "Disease or Syndrome"),
    semantic_type("C0000005", "T023", "Body Part, Organ, or Organ Component"),
    semantic_type("C0000006", "T023", "Body Part, Organ, or Organ Component"),
]


@pytest.fixture
def row_of():
    return {"MRCONSO": atom, "MRREL": relation, "MRSTY": semantic_type}


@pytest.fixture
def write_release(tmp_path):
    """Writes the release above, with other rows for some files, into a new folder."""
    made = []

    def write(*, gzipped=False, **rows):
        folder = tmp_path / f"rrf{len(made)}"
        made.append(folder)
        folder.mkdir()
        for stem, default in (("MRCONSO", ATOMS), ("MRREL", RELATIONS), ("MRSTY", TYPES)):
            chosen = rows.get(stem, default)
            content = chosen if isinstance(chosen, bytes) else "".join(f"{row}\n" for row in chosen).encode()
            target = folder / f"{stem}.RRF{'.gz' if gzipped else ''}"
            target.write_bytes(gzip.compress(content) if gzipped else content)
        return folder

    return write
