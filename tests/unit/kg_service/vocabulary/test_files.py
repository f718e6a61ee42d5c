"""Releases as people have them: in parts, in archives, folders above META, byte order marks."""

import gzip
import shutil
import zipfile

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput

STEMS = ("MRCONSO", "MRREL", "MRSTY")
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def build(tmp_path):
    def run(folder):
        return build_vocabulary(folder, tmp_path / "out"), open_vocabulary(tmp_path / "out", verify=True)

    return run


def arrays_of(vocabulary):
    return {path.name: path.read_bytes() for path in vocabulary.directory.iterdir() if path.name != "manifest.json"}


def in_parts(folder, target, suffixes=("aa", "ab", "ac"), ending=".gz"):
    """The files of `folder` cut anywhere, within rows too."""
    target.mkdir(parents=True, exist_ok=True)
    for stem in STEMS:
        content = (folder / f"{stem}.RRF").read_bytes()
        size = len(content) // len(suffixes) + 1
        for number, suffix in enumerate(suffixes):
            part = content[number * size : (number + 1) * size]
            (target / f"{stem}.RRF.{suffix}{ending}").write_bytes(gzip.compress(part) if ending else part)
    return target


def packed(archive, files, prefix="2025AB/META"):
    with zipfile.ZipFile(archive, "w") as out:
        for file in files:
            out.write(file, f"{prefix}/{file.name}")


@pytest.fixture
def plain(write_release, tmp_path):
    """The release as plain files, and what it compiles to."""
    folder = write_release()
    build_vocabulary(folder, tmp_path / "expected")
    return folder, arrays_of(open_vocabulary(tmp_path / "expected"))


@pytest.mark.parametrize(
    ("suffixes", "ending"), [(("aa", "ab", "ac"), ".gz"), (("aa", "ab"), ""), (("00", "01", "02"), ".gz"), (("01", "02"), "")]
)
def test_parts_are_one_file_in_their_order(plain, tmp_path, build, suffixes, ending):
    folder, expected = plain
    report, vocabulary = build(in_parts(folder, tmp_path / "parts", suffixes, ending))
    assert arrays_of(vocabulary) == expected
    assert report.bad_row_count == 0
    names = [entry["name"] for entry in vocabulary.manifest["inputs"]]
    assert names[: len(suffixes)] == [f"MRCONSO.RRF.{suffix}{ending}" for suffix in suffixes]


def test_bad_rows_of_parts_are_counted_on(write_release, tmp_path, build, row_of):
    rows = [row_of["MRCONSO"](f"C000000{i}", f"name {i}") for i in range(1, 7)]
    folder = in_parts(write_release(MRCONSO=[*rows, "broken"]), tmp_path / "parts")
    report, _ = build(folder)
    assert [(row.file, row.line) for row in report.bad_rows] == [("MRCONSO.RRF", 7)]


@pytest.mark.parametrize(("stem", "missing"), [("MRCONSO", "ab"), ("MRREL", "aa"), ("MRSTY", "ab")])
def test_a_missing_part_is_named(plain, tmp_path, build, stem, missing):
    folder = in_parts(plain[0], tmp_path / "parts")
    (folder / f"{stem}.RRF.{missing}.gz").unlink()
    with pytest.raises(InvalidInput, match=rf"{stem}\.RRF\.{missing}\.gz is missing in"):
        build(folder)


def test_a_missing_last_part_is_told_by_mrfiles(plain, tmp_path, build):
    folder = in_parts(plain[0], tmp_path / "parts")
    stated = {stem: (plain[0] / f"{stem}.RRF").read_text().count("\n") for stem in STEMS}
    rows = [f"{stem}.RRF|what|A,B|18|{count}|1|\n" for stem, count in stated.items()]
    (folder / "MRFILES.RRF").write_text("".join(["MRDEF.RRF|x|A|1|7|1|\n", "damaged\n", *rows]))
    assert build(folder)[0].notes == ()
    (folder / "MRCONSO.RRF.ac.gz").unlink()
    with pytest.raises(InvalidInput, match=r"MRCONSO\.RRF\.ab\.gz is damaged or cut off.*and the parts that follow it"):
        build(folder)
    whole_rows, _, _ = gzip.decompress((folder / "MRCONSO.RRF.ab.gz").read_bytes()).rpartition(b"\n")
    (folder / "MRCONSO.RRF.ab.gz").write_bytes(gzip.compress(whole_rows + b"\n"))
    (line,) = build(folder)[0].notes
    assert line.startswith("MRCONSO.RRF has ")
    assert f"MRFILES says {stated['MRCONSO']}: check that all parts" in line


def test_archives_are_read_where_they_lie_and_give_the_same_manifest(plain, tmp_path, build):
    folder = in_parts(plain[0], tmp_path / "parts")
    files = sorted(folder.iterdir())
    full = tmp_path / "2025AB-full"
    full.mkdir()
    packed(full / "2025AB-1-meta.nlm", files[:4])
    packed(full / "2025AB-2-meta.nlm", files[4:])
    packed(full / "2025AB-otherks.nlm", [], "2025AB/NET")
    (full / "mmsys.zip").write_bytes(b"no zip")
    _, unpacked = build(folder)
    arrays, inputs = arrays_of(unpacked), unpacked.manifest["inputs"]
    for given in (full, tmp_path):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(plain[0], ignore_errors=True)
        _, vocabulary = build(given)
        assert arrays_of(vocabulary) == arrays == plain[1]
        assert vocabulary.manifest["inputs"] == inputs


def test_one_archive_can_be_given_itself(plain, tmp_path, build):
    folder, expected = plain
    packed(tmp_path / "umls-2025AB-metathesaurus-full.zip", sorted(folder.iterdir()))
    _, vocabulary = build(tmp_path / "umls-2025AB-metathesaurus-full.zip")
    assert arrays_of(vocabulary) == expected


@pytest.mark.parametrize("name", ["2025AB-2-meta.nlm", "2025AB-2-META.NLM", "more.zip"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_an_archive_that_is_cut_off_is_refused_beside_whole_ones(plain, tmp_path, build, name, share):
    files = sorted(plain[0].iterdir())
    full = tmp_path / "full"
    full.mkdir()
    packed(full / "2025AB-1-meta.nlm", files)
    packed(full / name, [], "2025AB/META")
    with zipfile.ZipFile(full / name, "a") as out:
        out.writestr("2025AB/META/MRDEF.RRF", "x" * 2_000)
    build(full)
    content = (full / name).read_bytes()
    (full / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInput, match=rf"{name} can't be read, it may be cut off.*or move it away"):
        build(full)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("cut", ["whole", "ab", "ac"])
def test_a_file_or_part_that_ends_within_a_row_is_cut_off(plain, tmp_path, build, stem, cut):
    folder = plain[0] if cut == "whole" else in_parts(plain[0], tmp_path / "parts", ending="")
    path = folder / f"{stem}.RRF{'' if cut == 'whole' else f'.{cut}'}"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], lines[0][:7]]) if cut == "whole" else path.read_bytes()[:-33])
    message = rf"{path.name} is damaged or cut off: it ends within line \d+: .*download the file again"
    with pytest.raises(InvalidInput, match=message):
        build(folder)


def test_a_last_row_without_a_line_end_is_whole(plain, build):
    folder, expected = plain
    for stem in STEMS:
        path = folder / f"{stem}.RRF"
        path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    report, vocabulary = build(folder)
    assert (arrays_of(vocabulary), report.bad_row_count) == (expected, 0)


def test_a_part_in_an_archive_that_is_not_there_is_missing(plain, tmp_path, build):
    files = sorted(in_parts(plain[0], tmp_path / "parts").iterdir())
    (tmp_path / "full").mkdir()
    packed(tmp_path / "full" / "2025AB-2-meta.nlm", [file for file in files if ".aa." not in file.name])
    with pytest.raises(InvalidInput, match=r"MRCONSO\.RRF\.aa\.gz is missing.*-meta\.nlm archives"):
        build(tmp_path / "full")


def test_the_same_file_in_two_archives_is_refused(plain, tmp_path, build):
    (tmp_path / "full").mkdir()
    for name in ("a-meta.nlm", "b-meta.nlm"):
        packed(tmp_path / "full" / name, sorted(plain[0].iterdir()))
    with pytest.raises(InvalidInput, match=r"both hold 2025AB/META/MRCONSO\.RRF"):
        build(tmp_path / "full")


@pytest.mark.parametrize("above", ["", "META", "2025AB/META", "umls/2025AB/META"])
def test_meta_is_found_in_the_folder_and_below(plain, tmp_path, build, above):
    top = tmp_path / "top"
    (top / above).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(plain[0], top / above)
    assert arrays_of(build(top)[1]) == plain[1]


def test_of_several_releases_one_has_to_be_named(plain, tmp_path, build):
    for release in ("2025AA", "2025AB"):
        shutil.copytree(plain[0], tmp_path / "umls" / release / "META")
    with pytest.raises(InvalidInput, match=r"several releases: .*2025AA/META, .*2025AB/META"):
        build(tmp_path / "umls")


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["2025AB-1-meta.nlm"], r"an \.nlm file is a zip archive"),
        (["2025AB-full.zip"], r"unzip 2025AB-full\.zip"),
        (["mmsys.zip"], "installer"),
        (["MRCONSO.RRF.bz2", "MRREL.RRF", "MRSTY.RRF"], r"unpack it to MRCONSO\.RRF"),
        (["MRREL.RRF", "MRSTY.RRF"], "give the META folder"),
        ([], "give the META folder"),
    ],
)
def test_where_there_is_no_mrconso_the_hint_goes_by_what_there_is(tmp_path, build, names, hint):
    folder = tmp_path / "given"
    folder.mkdir()
    for name in names:
        if name.endswith((".nlm", "full.zip")):
            packed(folder / name, [])
        else:
            (folder / name).write_bytes(b"")
    with pytest.raises(InvalidInput, match=rf"no MRCONSO\.RRF or MRCONSO\.RRF\.gz in {folder}.*{hint}"):
        build(folder)


def test_what_is_no_folder_is_refused(plain, tmp_path, build):
    with pytest.raises(InvalidInput, match=rf"give its folder: {plain[0]}"):
        build(plain[0] / "MRCONSO.RRF")
    with pytest.raises(InvalidInput, match="there is no "):
        build(tmp_path / "nowhere")


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_row(plain, tmp_path, build, gzipped):
    folder, expected = plain
    target = tmp_path / "marked"
    target.mkdir()
    for stem in STEMS:
        content = BOM + (folder / f"{stem}.RRF").read_bytes().replace(b"\n", b"\r\n")
        (target / f"{stem}.RRF{'.gz' if gzipped else ''}").write_bytes(gzip.compress(content) if gzipped else content)
    report, vocabulary = build(target)
    assert (arrays_of(vocabulary), report.bad_row_count) == (expected, 0)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("stem", STEMS)
def test_other_unicode_is_refused_by_name(write_release, build, encoding, stem):
    folder = write_release()
    path = folder / f"{stem}.RRF"
    path.write_bytes(path.read_bytes().decode().encode(encoding))
    with pytest.raises(InvalidInput, match=rf"{stem}\.RRF is in UTF-16.*iconv"):
        build(folder)


def test_small_letters_in_file_names_are_taken(plain, build):
    folder, expected = plain
    for stem in STEMS:
        (folder / f"{stem}.RRF").rename(folder / f"{stem.lower()}.rrf")
    assert arrays_of(build(folder)[1]) == expected


def test_damaged_and_swollen_archives_are_refused(plain, tmp_path, build):
    archive = tmp_path / "meta.nlm"
    packed(archive, sorted(plain[0].iterdir()))
    content = bytearray(archive.read_bytes())
    content[200] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InvalidInput, match="can't be read"):
        build(archive)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("META/MRCONSO.RRF", b"0" * (64 << 20))
    with pytest.raises(InvalidInput, match="unpacks to over 200 times its size"):
        build(archive)


@pytest.mark.parametrize("way", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_refused_however_an_archive_is_packed(plain, tmp_path, build, way):
    archive = tmp_path / "meta.nlm"
    with zipfile.ZipFile(archive, "w", way) as out:
        for file in sorted(plain[0].iterdir()):
            out.write(file, f"META/{file.name}")
    assert arrays_of(build(archive)[1]) == plain[1]
    content = bytearray(archive.read_bytes())
    content[60] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"MRCONSO\.RRF in .*meta\.nlm can't be read"):
        build(archive)


@pytest.mark.parametrize(("place", "value"), [(6, 200), (9, 8)], ids=["version 20.0", "UTF-8 that is none"])
def test_a_list_of_an_archive_that_cannot_be_read_is_refused(plain, tmp_path, build, place, value):
    archive = tmp_path / "meta.nlm"
    packed(archive, sorted(plain[0].iterdir()), prefix="MET\N{LATIN CAPITAL LETTER A WITH DIAERESIS}")
    content = bytearray(archive.read_bytes().replace("Ä".encode(), b"\xffA"))
    content[content.index(b"PK\1\2") + place] = value
    archive.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"meta\.nlm can't be read"):
        build(archive)


@pytest.mark.parametrize("digits", [18, 19, 5_000])
def test_numbers_of_any_length_can_be_read(write_release, build, digits):
    folder = write_release()
    (folder / "MRRANK.RRF").write_text(f"{'9' * digits}|MSH|PT|N|\n")
    (folder / "MRFILES.RRF").write_text(f"MRCONSO.RRF|d|CUI|18|{'9' * digits}|1|\n")
    report, _ = build(folder)
    assert report.bad_row_count == 0
    assert bool(report.notes) == (digits == 18)


MTH = "C1|C2|{vsab}|MTH|UMLS Metathesaurus|MTH|{sver}||||||||||||||||||||"
OTHER = "C1|C2|NCI2025_06E|NCI|NCI Thesaurus|NCI|2025_06E|||{imeta}|||||||||||||||"


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([MTH.format(vsab="MTH2025AB", sver="2025AB")], "2025AB"),
        ([OTHER.format(imeta="2019AA"), MTH.format(vsab="MTH2024AB", sver="")], "2024AB"),
        ([OTHER.format(imeta="2019AA"), OTHER.format(imeta="2025AA"), OTHER.format(imeta="")], "2025AA"),
        ([OTHER.format(imeta="")], "unknown"),
        (["damaged"], "unknown"),
    ],
)
def test_the_release_is_named_by_mrsab(plain, build, rows, name):
    (plain[0] / "MRSAB.RRF.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    assert build(plain[0])[0].release == name


def test_release_dat_beside_meta_goes_before_mrsab(plain, tmp_path, build):
    shutil.copytree(plain[0], tmp_path / "2025AB" / "META")
    (tmp_path / "2025AB" / "META" / "MRSAB.RRF").write_text(MTH.format(vsab="", sver="2025AA") + "\n")
    (tmp_path / "2025AB" / "release.dat").write_bytes(BOM + b"umls.release.name = 2025AB\r\numls.release.date=20251103\r\n")
    assert build(tmp_path / "2025AB")[0].release == "2025AB"
