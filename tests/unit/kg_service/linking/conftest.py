"""A small radiology vocabulary, with the names that linkers go wrong on: WAS, TEN, Can, one name of two concepts."""

from dataclasses import replace

import pytest
from kg_service.linking.builder import build_linker
from kg_service.linking.linkers import linker_kind
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary

FINDING, ANATOMY, PROCEDURE, SUBSTANCE = "T047", "T023", "T060", "T121"
CONCEPTS = [
    ("C0024109", ANATOMY, ["Lung", "Lungs", "Pulmo"]),
    ("C0225730", ANATOMY, ["Left lung"]),
    ("C0817096", ANATOMY, ["Chest", "Thorax"]),
    ("C0015811", ANATOMY, ["Femur", "Thigh bone"]),
    ("C0018827", ANATOMY, ["Cardiac Ventricle"]),
    ("C0225897", ANATOMY, ["Left ventricle", "Left cardiac ventricle"]),
    ("C0040405", PROCEDURE, ["X-Ray Computed Tomography", "Computed tomography", "CT scan"]),
    ("C0039985", PROCEDURE, ["Plain chest X-ray", "Chest X-Ray"]),
    ("C0024485", PROCEDURE, ["Magnetic Resonance Imaging", "MRI"]),
    ("C0041618", PROCEDURE, ["Ultrasonography", "Ultrasound"]),
    ("C0032227", FINDING, ["Pleural Effusion", "Effusion, Pleural"]),
    ("C0013687", FINDING, ["Effusion"]),
    ("C0034063", FINDING, ["Pulmonary Edema", "Lung edema"]),
    ("C0013604", FINDING, ["Edema"]),
    ("C0018802", FINDING, ["Congestive heart failure"]),
    ("C0018801", FINDING, ["Heart failure"]),
    ("C0018800", FINDING, ["Cardiomegaly", "Enlarged heart"]),
    ("C0032326", FINDING, ["Pneumothorax"]),
    ("C0032285", FINDING, ["Pneumonia"]),
    ("C0016658", FINDING, ["Fracture", "Fractures"]),
    ("C0015802", FINDING, ["Femur Fracture", "Femoral fracture"]),
    ("C0019204", FINDING, ["Hepatocellular Carcinoma", "Liver cell carcinoma"]),
    ("C0027627", FINDING, ["Metastasis", "Metastatic disease"]),
    ("C0043194", FINDING, ["Wiskott-Aldrich Syndrome", "WAS"]),
    ("C0014518", FINDING, ["Toxic Epidermal Necrolysis", "TEN"]),
    ("C0001175", FINDING, ["AIDS"]),
    ("C0006663", FINDING, ["Calcification", "Calcified"]),
    ("C0175704", FINDING, ["GGO", "Ground-glass opacity"]),
    ("C0009924", SUBSTANCE, ["Contrast Media", "Contrast agent", "Contrast"]),
    ("C0011847", FINDING, ["Nodule"]),
    ("C0028259", FINDING, ["Nodule", "Small lump", "Lump"]),
    ("C0019699", FINDING, ["Hepatitis A"]),
    ("C0003483", ANATOMY, ["Aorta"]),
    ("C0333641", FINDING, ["α-angle deformity"]),
]


def rows_of(cui, tui, names):
    for position, name in enumerate(names):
        ts = "P" if position == 0 else "S"
        yield f"{cui}|ENG|{ts}|L1|PF|S1|Y|A1||||MSH|{'PT' if position == 0 else 'ET'}|X1|{name}|0|N||\n"


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rrf")
    (folder / "MRCONSO.RRF").write_text("".join(row for concept in CONCEPTS for row in rows_of(*concept)))
    (folder / "MRSTY.RRF").write_text("".join(f"{cui}|{tui}|A1|type|AT1||\n" for cui, tui, _ in CONCEPTS))
    (folder / "MRREL.RRF").write_text("C0024109|A1|AUI|CHD|C0225730|A2|AUI|isa|R1||MSH|MSH|||N||\n")
    target = tmp_path_factory.mktemp("compiled") / "vocabulary"
    build_vocabulary(folder, target, VocabularyFilters())
    return open_vocabulary(target)


@pytest.fixture(scope="session")
def dictionary_linker(vocabulary):
    return build_linker("dictionary", vocabulary)


@pytest.fixture(scope="session")
def scispacy_linker(vocabulary):
    return build_linker("scispacy", vocabulary)


@pytest.fixture(params=["dictionary", pytest.param("scispacy", marks=pytest.mark.scispacy)])
def linker(request):
    return request.getfixturevalue(f"{request.param}_linker")


@pytest.fixture
def linker_with(vocabulary):
    def linker_with(name="dictionary", **options):
        return build_linker(name, vocabulary, replace(linker_kind(name).settings, **options))

    return linker_with
