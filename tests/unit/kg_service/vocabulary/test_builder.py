import gzip
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import BadRow, Edge, VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput
from support.counts import often


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edges_of(vocabulary):
    return {(edge.child, edge.parent, edge.source) for edge in vocabulary.is_a_closure(vocabulary)[1]}


@pytest.fixture
def build(tmp_path):
    def run(folder, filters=None, **options):
        report = build_vocabulary(folder, tmp_path / "out", filters or VocabularyFilters(), **options)
        return report, open_vocabulary(tmp_path / "out", verify=True)

    return run


def test_counts_and_names_are_those_of_kept_rows(write_release, build):
    report, vocabulary = build(write_release())
    assert list(vocabulary) == [f"C000000{i}" for i in range(1, 8)]
    assert vocabulary.names("C0000001") == ["Pneumonia", "Pneumonias", "Lung inflammation"]
    assert vocabulary.names("C0000002") == ['Fracture "simple"']
    assert (report.concepts, report.names, report.is_a, report.bad_row_count) == (7, 9, 5, 0)


def test_is_a_rows_are_read_from_right_to_left(write_release, build):
    _, vocabulary = build(write_release())
    assert edges_of(vocabulary) == {
        ("C0000001", "C0000003", "MSH,NCI"),
        ("C0000003", "C0000004", "MSH"),
        ("C0000001", "C0000004", "MSH"),
        ("C0000005", "C0000007", "MSH"),
        ("C0000006", "C0000005", "MSH"),
    }


@pytest.mark.parametrize(("is_a", "children"), [(("rela",), {"C0000001", "C0000003"}), (("rel",), {"C0000005", "C0000006"})])
def test_where_is_a_comes_from_can_be_set(write_release, build, is_a, children):
    _, vocabulary = build(write_release(), VocabularyFilters(is_a=is_a))
    assert {child for child, _, _ in edges_of(vocabulary)} == children


def test_part_of_is_taken_for_is_a_where_that_is_asked_for(write_release, build, row_of):
    rows = [
        row_of["MRREL"](*cells[:4], sab=cells[4])
        for cells in (
            ("C0000004", "RO", "C0000002", "part_of", "UBERON"),
            ("C0000002", "RO", "C0000004", "has_part", "UBERON"),
            ("C0000007", "RO", "C0000005", "regional_part_of", "FMA"),
            ("C0000007", "CHD", "C0000005", "isa", "MSH"),
        )
    ]
    folder = write_release(MRREL=rows)
    _, vocabulary = build(folder)
    assert edges_of(vocabulary) == {("C0000005", "C0000007", "MSH")}
    _, vocabulary = build(folder, VocabularyFilters(is_a=("rela", "part_of")))
    assert edges_of(vocabulary) == {
        ("C0000002", "C0000004", "UBERON:part_of"),
        ("C0000005", "C0000007", "FMA:part_of,MSH"),
    }


def test_gzipped_and_plain_files_give_the_same_arrays(write_release, tmp_path):
    for name, folder in (("a", write_release()), ("b", write_release(gzipped=True))):
        build_vocabulary(folder, tmp_path / name)
    plain, gzipped = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    assert {name: plain[name] for name in plain if name != "manifest.json"} == {
        name: gzipped[name] for name in gzipped if name != "manifest.json"
    }


def test_same_input_gives_same_bytes_and_replaces_the_old_artefact(write_release, tmp_path):
    folder = write_release()
    build_vocabulary(folder, tmp_path / "out")
    first = files_of(tmp_path / "out")
    build_vocabulary(folder, tmp_path / "out")
    assert files_of(tmp_path / "out") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", folder.name]


@pytest.mark.parametrize(
    ("filters", "cuis"),
    [
        (VocabularyFilters(languages=("FRE",)), {"C0000001", "C0000008"}),
        (VocabularyFilters(suppress=()), {f"C000000{i}" for i in (1, 2, 3, 4, 5, 6, 7, 9)}),
        (VocabularyFilters(sources=("NCI",)), {"C0000001", "C0000004", "C0000006"}),
        (VocabularyFilters(semantic_types=("T047", "T037")), {"C0000001", "C0000002", "C0000003", "C0000004"}),
    ],
)
def test_filters_choose_concepts(write_release, build, filters, cuis):
    _, vocabulary = build(write_release(), filters)
    assert set(vocabulary) == cuis


def test_edges_join_kept_concepts_only(write_release, build):
    _, vocabulary = build(write_release(), VocabularyFilters(semantic_types=("T046", "T023")))
    assert edges_of(vocabulary) == {("C0000006", "C0000005", "MSH")}


def test_source_order_breaks_ties_of_rank(write_release, build, row_of):
    atom = row_of["MRCONSO"]
    rows = [atom("C0000001", "from msh", sab="MSH"), atom("C0000001", "from nci", sab="NCI")]
    for sources, name in ((("NCI", "MSH"), "from nci"), (("MSH", "NCI"), "from msh"), ((), "from msh")):
        _, vocabulary = build(write_release(MRCONSO=rows, MRREL=[]), VocabularyFilters(sources=sources))
        assert vocabulary.preferred_name("C0000001") == name
        assert vocabulary.source("C0000001") == name.removeprefix("from ").upper()


def test_mrrank_orders_sources_and_term_types_where_the_release_has_it(write_release, build, row_of):
    atom = row_of["MRCONSO"]
    rows = [atom("C0000001", f"{sab} {tty}", sab=sab, tty=tty) for sab in ("MSH", "NCI", "ZZZ") for tty in ("ET", "MH")]
    folder = write_release(MRCONSO=rows, MRREL=[])
    ranks = [("0400", "NCI", "MH"), ("0300", "MSH", "MH"), ("0200", "NCI", "ET"), ("0100", "MSH", "ET")]
    lines = [f"{rank}|{sab}|{tty}|N|\n" for rank, sab, tty in ranks]
    _, plain = build(folder)
    assert plain.preferred_name("C0000001") == "MSH ET"
    (folder / "MRRANK.RRF").write_text("".join(reversed(lines)))
    report, ranked = build(folder)
    assert ranked.names("C0000001") == ["NCI MH", "MSH MH", "NCI ET", "MSH ET", "ZZZ ET", "ZZZ MH"]
    assert next((name.source, name.term_type, name.rank) for name in ranked.iter_names()) == ("NCI", "MH", 0)
    assert "MRRANK.RRF" in {file["name"] for file in ranked.manifest["inputs"]}
    assert report.bad_row_count == 0
    _, chosen = build(folder, VocabularyFilters(sources=("ZZZ", "MSH")))
    assert chosen.source("C0000001") == "ZZZ"
    (folder / "MRRANK.RRF").write_text("".join([*lines, "0100|MSH|ET\n"]))
    report, _ = build(folder)
    assert [(row.file, row.line) for row in report.bad_rows] == [("MRRANK.RRF", 5)]


@given(
    atoms=st.lists(
        st.tuples(
            st.sampled_from(["P", "S"]),
            st.sampled_from(["PF", "VO", "VC"]),
            st.sampled_from("YN"),
            st.sampled_from(["one", "two", "six"]),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_preferred_name_is_the_best_by_ts_then_stt_then_ispref(write_release, build, row_of, atoms):
    rows = [row_of["MRCONSO"]("C0000001", text, ts=ts, stt=stt, ispref=ispref) for ts, stt, ispref, text in atoms]
    _, vocabulary = build(write_release(MRCONSO=rows, MRREL=[]))
    best = min((ts != "P", stt != "PF", ispref != "Y", text) for ts, stt, ispref, text in atoms)
    assert vocabulary.preferred_name("C0000001") == best[3]


def test_damaged_rows_are_named_by_file_and_line_and_the_good_ones_kept(write_release, build, row_of):
    good = row_of["MRCONSO"]("C0000001", "Pneumonie à virus").encode()
    rows = [
        good,
        b"C0000002|ENG|P",
        good.replace(b"C0000001", b"C000001"),
        good.replace("à".encode(), b"\xe0"),
        b"",
        good.removesuffix(b"|"),
        good.replace(b"virus", b"vi\rrus"),
        good.replace(b"virus", b"v" * (1 << 20)),
        good.replace(b"C0000001", "C00000０1".encode()),
        good.replace(b"C0000001", b"C0000005"),
    ]
    report, vocabulary = build(write_release(MRCONSO=b"\n".join(rows)))
    assert [(row.line, row.reason) for row in report.bad_rows] == [
        (2, "no pipe at the end of the row (3 columns, 18 expected)"),
        (3, "column CUI is no CUI"),
        (4, "not UTF-8, or a NUL or carriage return inside"),
        (5, "0 columns, 18 expected"),
        (6, "17 columns, 18 expected"),
        (7, "not UTF-8, or a NUL or carriage return inside"),
        (8, "over 1 MiB"),
        (9, "column CUI is no CUI"),
    ]
    assert str(report.bad_rows[0]).startswith("MRCONSO.RRF:2: ")
    assert (report.bad_row_count, list(vocabulary)) == (8, ["C0000001", "C0000005"])


@pytest.mark.parametrize("seed", range(3))
def test_of_many_damaged_rows_each_is_named_and_no_good_one(write_release, build, row_of, seed, record_property):
    generator, rows, damaged = random.Random(seed), [], []
    while len(damaged) < often(500, 5_000):
        row = row_of["MRCONSO"](f"C{len(rows):07d}", f"Größe {len(rows)}").encode()
        if generator.random() < 0.5:
            damaged.append(len(rows) + 1)
            how = [
                row[: generator.randrange(len(row) - 1)].replace(b"\xc3", b"c"),
                row.replace(b"C0", b"D0", 1),
                row.replace("ö".encode(), b"\xf6"),
                row.replace("ö".encode(), b"\0"),
                row.removesuffix(b"|"),
                row + b"more|",
            ]
            row = generator.choice(how)
        rows.append(row)
    report, vocabulary = build(write_release(MRCONSO=b"\n".join([*rows, b""]), MRREL=[], MRSTY=[]), max_bad_rows=len(rows))
    assert [row.line for row in report.bad_rows] == damaged, f"seed {seed}"
    assert len(vocabulary) == len(rows) - len(damaged)
    record_property("damaged rrf rows", len(damaged))


def test_second_cui_of_a_relation_is_checked(write_release, build, row_of):
    report, _ = build(write_release(MRREL=[row_of["MRREL"]("C0000003", "CHD", "D0000001", "isa")]))
    assert report.bad_rows == (BadRow("MRREL.RRF", 1, "column CUI2 is no CUI"),)


def test_report_keeps_the_first_bad_rows_and_counts_all(write_release, build, row_of):
    rows = [row_of["MRCONSO"]("C0000001", "Pneumonia"), *["broken"] * 50]
    report, vocabulary = build(write_release(MRCONSO=rows), max_bad_rows=3)
    assert (report.bad_row_count, [row.line for row in report.bad_rows]) == (50, [2, 3, 4])
    assert vocabulary.manifest["counts"]["bad_rows"] == 50


def test_windows_line_ends_are_taken(write_release, build, row_of):
    content = "\r\n".join([row_of["MRCONSO"]("C0000001", "Pneumonia"), row_of["MRCONSO"]("C0000005", "Lung")]).encode()
    report, vocabulary = build(write_release(MRCONSO=content + b"\r\n"))
    assert (report.bad_row_count, vocabulary.names("C0000005")) == (0, ["Lung"])


@given(damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_damage_never_crashes_and_names_no_untouched_row(write_release, build, row_of, damage):
    rows = [row_of["MRCONSO"](f"C{number:07d}", f"name {number}").encode() for number in range(1, 30)]
    content = bytearray(b"\n".join(rows) + b"\n")
    for position, byte in damage:
        # Without its last line end the file would be cut off, which is refused.
        content[position % (len(content) - 1)] = byte
    kept = set(rows) & set(bytes(content).split(b"\n"))
    report, vocabulary = build(write_release(MRCONSO=bytes(content)))
    assert {row[:8].decode() for row in kept} <= set(vocabulary)
    lines = bytes(content).split(b"\n")
    assert kept.isdisjoint(lines[row.line - 1] for row in report.bad_rows)


def test_cycles_are_cut_and_every_cut_edge_reported(write_release, build, row_of):
    relation = row_of["MRREL"]
    ring = [("C0000001", "C0000002"), ("C0000002", "C0000003"), ("C0000003", "C0000001"), ("C0000003", "C0000004")]
    rows = [relation(parent, "CHD", child, "isa") for child, parent in ring]
    report, vocabulary = build(write_release(MRREL=rows))
    assert report.cut_edges == (Edge("C0000003", "C0000001", "MSH"),)
    assert [ancestor.cui for ancestor in vocabulary.ancestors("C0000001")] == ["C0000002", "C0000003", "C0000004"]
    assert (vocabulary.directory / "cut_edges.tsv").read_text().splitlines()[1:] == ["C0000003\tC0000001\tMSH"]


def test_release_licence_inputs_and_filters_are_recorded(write_release, build):
    folder = write_release()
    (folder / "release.dat").write_text("umls.release.name=2031AA\numls.release.date=20310501\n")
    report, vocabulary = build(folder, licence="UMLS Metathesaurus License")
    assert report.release == vocabulary.release == "2031AA"
    assert vocabulary.describe() | {"sha256": ""} == {"release": "2031AA", "licence": "UMLS Metathesaurus License", "sha256": ""}
    manifest = json.loads((vocabulary.directory / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["inputs"]] == ["MRCONSO.RRF", "MRSTY.RRF", "MRREL.RRF"]
    assert manifest["filters"]["languages"] == ["ENG"]


def test_release_is_read_from_mrdoc_or_given_or_unknown(write_release, build):
    folder = write_release()
    assert build(folder)[0].release == "unknown"
    (folder / "MRDOC.RRF").write_text("RELEASE|umls.release.name|release_info|2030AB|\n")
    assert build(folder)[0].release == "2030AB"
    assert build(folder, release="mine")[0].release == "mine"


def test_progress_tells_file_and_bytes_then_names(write_release, build):
    seen = []
    folder = write_release()
    build(folder, progress=lambda stage, done, total: seen.append((stage, done, total)))
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert seen == [(f"{stem}.RRF", *[sizes[f"{stem}.RRF"]] * 2) for stem in ("MRCONSO", "MRSTY", "MRREL")] + [("names", 1, 1)]


@pytest.mark.parametrize("stage", ["MRSTY.RRF", "names"])
def test_interrupted_build_leaves_the_old_artefact_and_nothing_else(write_release, tmp_path, stage):
    def interrupt(now, done, total):
        if now == stage:
            raise KeyboardInterrupt

    folder = write_release()
    build_vocabulary(folder, tmp_path / "out")
    before = files_of(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        build_vocabulary(write_release(MRREL=[]), tmp_path / "out", progress=interrupt)
    assert files_of(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rrf0", "rrf1"]


def test_order_of_rows_and_ranges_of_cuis_do_not_matter(write_release, tmp_path, row_of):
    cuis = [f"C{number:07d}" for number in (1, 131_071, 131_072, 400_000, 9_999_999)]
    atoms = [
        row_of["MRCONSO"](cui, f"{name} {cui}", stt=stt) for cui in cuis for name, stt in (("b", "VO"), ("a", "VO"), ("c", "PF"))
    ]
    relations = [row_of["MRREL"](cuis[0], "CHD", cui, "isa") for cui in cuis[1:]]
    types = [row_of["MRSTY"](cui, tui, tui) for cui in cuis for tui in ("T047", "T033")]
    build_vocabulary(write_release(MRCONSO=atoms, MRREL=relations, MRSTY=types), tmp_path / "a")
    backwards = {"MRCONSO": atoms[::-1], "MRREL": relations[::-1], "MRSTY": types[::-1]}
    build_vocabulary(write_release(**backwards), tmp_path / "b")
    (tmp_path / "a" / "manifest.json").unlink()
    assert files_of(tmp_path / "a").items() < files_of(tmp_path / "b").items()
    vocabulary = open_vocabulary(tmp_path / "b", verify=True)
    assert list(vocabulary) == cuis
    assert [vocabulary.names(cui) for cui in cuis] == [[f"{name} {cui}" for name in "cab"] for cui in cuis]
    assert vocabulary.children(cuis[0]) == cuis[1:]
    assert [vocabulary.semantic_types(cui) for cui in cuis] == [("T033", "T047")] * 5
    build_vocabulary(tmp_path / "rrf1", tmp_path / "c", VocabularyFilters(semantic_types=("T033",)))
    assert len(open_vocabulary(tmp_path / "c")) == 5


def test_concepts_of_a_whole_range_can_be_filtered_out(write_release, build, row_of):
    atoms = [row_of["MRCONSO"](cui, "+++") for cui in ("C0000001", "C5000000")]
    types = [row_of["MRSTY"]("C5000000", "T047", "Disease or Syndrome"), row_of["MRSTY"]("C0000001", "T033", "Finding")]
    _, vocabulary = build(write_release(MRCONSO=atoms, MRREL=[], MRSTY=types), VocabularyFilters(semantic_types=("T047",)))
    assert list(vocabulary) == ["C5000000"]
    assert vocabulary.semantic_type_names == {"T047": "Disease or Syndrome"}
    assert (vocabulary.search("+"), len(vocabulary.words.words)) == ([], 0)


def test_missing_file_is_named(write_release, build):
    folder = write_release()
    (folder / "MRREL.RRF").unlink()
    with pytest.raises(InvalidInput, match=r"no MRREL\.RRF or MRREL\.RRF\.gz in"):
        build(folder)


def test_truncated_gzip_is_refused_and_the_old_artefact_stays(write_release, build, tmp_path):
    build(write_release())
    before = files_of(tmp_path / "out")
    folder = write_release(gzipped=True)
    packed = (folder / "MRCONSO.RRF.gz").read_bytes()
    (folder / "MRCONSO.RRF.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InvalidInput, match=r"MRCONSO\.RRF\.gz can't be read"):
        build(folder)
    assert files_of(tmp_path / "out") == before


def test_gzip_bomb_is_refused(write_release, build):
    folder = write_release(gzipped=True)
    (folder / "MRCONSO.RRF.gz").write_bytes(gzip.compress(b"0" * (64 << 20)))
    with pytest.raises(InvalidInput, match="unpacks to over 200 times its size"):
        build(folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sources": ("NOSUCH",)}, r"no concept has the source 'NOSUCH'.*there are MSH, NCI"),
        ({"sources": ("NCI", "MSHX")}, r"no concept has the source 'MSHX'.*the nearest is MSH; there are MSH, NCI"),
        ({"languages": ("ENG", "FR")}, r"no concept has the language 'FR'.*the nearest is FRE; there are ENG, FRE"),
        ({"suppress": ("O", "X")}, r"no concept has the SUPPRESS value 'X'.*there are E, N, O, Y"),
        ({"semantic_types": ("T047", "T999")}, r"has the semantic type 'T999'.*there are .*types: columns 2 and 4 of its MRSTY"),
        ({"semantic_types": ("Disease or Syndrom",)}, r"'Disease or Syndrom'.*the nearest is T047 Disease or Syndrome"),
        ({"semantic_types": ("disease",)}, r"'disease'.*the nearest are T047 Disease or Syndrome, DISO;"),
    ],
)
def test_a_filter_value_that_nothing_has_is_refused_with_what_there_is(write_release, build, given, message):
    with pytest.raises(InvalidInput, match=message):
        build(write_release(), VocabularyFilters(**given))


def test_a_language_that_the_release_lacks_is_told_even_if_nobody_named_it(write_release, build, row_of):
    with pytest.raises(InvalidInput, match=r"no concept has the language 'ENG'.*there are SPA"):
        build(write_release(MRCONSO=[row_of["MRCONSO"]("C0000001", "Derrame", lat="SPA")]))


@pytest.mark.parametrize("stem", ["MRCONSO", "MRSTY"])
def test_a_file_without_a_good_row_is_told_by_its_first_bad_one(write_release, build, stem):
    with pytest.raises(InvalidInput, match=rf"no concept of .* passes the filters.*{stem}\.RRF:1: "):
        build(write_release(**{stem: ["no", "rows"]}), VocabularyFilters(sources=("NCI",), semantic_types=("T047",)))


def test_a_release_of_empty_files_is_called_that(write_release, build):
    with pytest.raises(InvalidInput, match=r"no concept of .* passes the filters. it has no name of any concept"):
        build(write_release(MRCONSO=[], MRREL=[], MRSTY=[]))


def test_filters_that_exclude_each_other_are_told_with_counts(write_release, build):
    with pytest.raises(InvalidInput, match=r"passes the filters.*7 by language, 0 by SUPPRESS, 2 by source"):
        build(write_release(), VocabularyFilters(languages=("FRE",), sources=("NCI",)))


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ({"sources": ("nci", "Msh", "NCI")}, {"sources": ["NCI", "MSH"]}),
        ({"languages": ("eng",)}, {"languages": ["ENG"]}),
        ({"suppress": ("o", "y")}, {"suppress": ["O", "Y"]}),
        ({"semantic_types": ("disease or syndrome", "t023")}, {"semantic_types": ["T047", "T023"]}),
        ({"semantic_types": ("Body Part", "Organ", "or Organ Component")}, {"semantic_types": ["T023"]}),
        ({"semantic_types": ("DISO",)}, {"semantic_types": ["T037", "T046", "T047"]}),
    ],
)
def test_filter_values_are_taken_in_any_case_and_recorded_as_the_release_has_them(write_release, build, given, recorded):
    _, vocabulary = build(write_release(), VocabularyFilters(**given))
    assert vocabulary.manifest["filters"].items() >= recorded.items()
    exact = {name: tuple(values) for name, values in recorded.items()}
    _, again = build(write_release(), VocabularyFilters(**exact))
    assert list(vocabulary) == list(again)


def test_a_source_of_relations_alone_is_one(write_release, build, row_of):
    folder = write_release(MRREL=[row_of["MRREL"]("C0000007", "CHD", "C0000005", "isa", sab="OWN")])
    _, vocabulary = build(folder, VocabularyFilters(sources=("MSH", "OWN")))
    assert edges_of(vocabulary) == {("C0000005", "C0000007", "OWN")}


def test_the_report_tells_how_many_concepts_each_filter_left_out(write_release, build):
    """Of nine concepts one has a French name alone and one a suppressed one; three of the seven left have a name of NCI."""
    report, vocabulary = build(write_release())
    assert report.left_out == vocabulary.manifest["left_out"] == {"language": 1, "SUPPRESS": 1}
    report, _ = build(write_release(), VocabularyFilters(sources=("NCI",), semantic_types=("T047",)))
    assert report.left_out == {"language": 1, "SUPPRESS": 1, "source": 4, "semantic type": 1}
    assert report.concepts == 2


def test_folder_with_other_content_is_not_overwritten(write_release, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidInput, match="is not a compiled artefact"):
        build_vocabulary(write_release(), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
