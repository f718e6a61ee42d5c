"""Which sources, term types, languages and relations a synthetic release has, and how often: set by hand, about as in the UMLS.

Shares need not add up to 1: they are weights within their table.
"""

from __future__ import annotations

from typing import NamedTuple

RELEASE = "SYNTHETIC"


class Source(NamedTuple):
    """A SAB, its language, its share of its table, and its TTYs."""

    sab: str
    lat: str
    share: float
    term_types: str


ENGLISH = (
    Source("NCBI", "ENG", 21, "SCN SY EQ AUN CMN"),
    Source("SNOMEDCT_US", "ENG", 14, "PT SY FN OAP OAF IS"),
    Source("MEDCIN", "ENG", 10, "PT SY FN"),
    Source("LNC", "ENG", 9, "LN OSN LC DN LPN"),
    Source("MSH", "ENG", 8, "NM MH ET PM PEP N1 CE"),
    Source("RXNORM", "ENG", 6, "SCD SBD BN IN PSN SY TMSY"),
    Source("NCI", "ENG", 6, "PT SY FD CN AB"),
    Source("GO", "ENG", 4, "PT SY ET OP"),
    Source("ICD10PCS", "ENG", 4, "PT PX AB MTH_HX"),
    Source("MTHSPL", "ENG", 4, "DP SU MTH_RXN_DP"),
    Source("MTH", "ENG", 3, "PN SY"),
    Source("ICD10CM", "ENG", 3, "PT HT AB ET"),
    Source("HGNC", "ENG", 2, "PT ACR SYN NA"),
    Source("OMIM", "ENG", 2, "PT ETAL SYN"),
    Source("FMA", "ENG", 2, "PT SY IS"),
    Source("MDR", "ENG", 1.5, "LLT PT OL HT"),
    Source("CHV", "ENG", 1.5, "SY PT"),
    Source("MMSL", "ENG", 1, "CD BD GN"),
    Source("HPO", "ENG", 0.5, "PT SY"),
    Source("UWDA", "ENG", 0.5, "PT SY"),
)
FOREIGN = (
    Source("SCTSPA", "SPA", 30, "PT SY FN OAP"),
    Source("MDRSPA", "SPA", 4, "LLT PT"),
    Source("MSHFRE", "FRE", 9, "MH ET"),
    Source("MDRFRE", "FRE", 3, "LLT PT"),
    Source("MSHPOR", "POR", 8, "MH ET"),
    Source("MSHJPN", "JPN", 7, "PT ET"),
    Source("MDRJPN", "JPN", 4, "LLT PT"),
    Source("MSHRUS", "RUS", 7, "MH SY"),
    Source("MSHGER", "GER", 6, "MH ET"),
    Source("MSHCZE", "CZE", 6, "MH ET"),
    Source("MDRHUN", "HUN", 5, "LLT PT"),
    Source("LNC-ZH-CN", "CHI", 6, "LN"),
    Source("LNC-KO-KR", "KOR", 5, "LN"),
)


class Relation(NamedTuple):
    """REL and RELA from parent to child and back, their share, and the sources that say it."""

    rel: str
    rela: str
    inverse_rel: str
    inverse_rela: str
    share: float
    sabs: str

    @property
    def is_a(self) -> bool:
        """Whether it says is_a, as `VocabularyFilters` takes it by default."""
        return self.rela == "isa" or (self.rel, self.rela) == ("CHD", "")


RELATIONS = (
    Relation("CHD", "isa", "PAR", "inverse_isa", 24, "SNOMEDCT_US NCI GO FMA HPO"),
    Relation("CHD", "", "PAR", "", 14, "NCBI MSH MEDCIN ICD10PCS MDR LNC"),
    Relation("RN", "isa", "RB", "inverse_isa", 4, "RXNORM MSH"),
    Relation("RN", "", "RB", "", 4, "MTH MSH"),
    Relation("CHD", "part_of", "PAR", "has_part", 3, "FMA UWDA"),
    Relation("RO", "finding_site_of", "RO", "has_finding_site", 9, "SNOMEDCT_US NCI"),
    Relation("RO", "has_ingredient", "RO", "ingredient_of", 8, "RXNORM MTHSPL"),
    Relation("RO", "analyzed_by", "RO", "analyzes", 7, "LNC"),
    Relation("RO", "", "RO", "", 5, "MTH MSH OMIM"),
    Relation("SIB", "", "SIB", "", 12, "MSH NCI SNOMEDCT_US"),
    Relation("SY", "same_as", "SY", "same_as", 4, "SNOMEDCT_US MTH"),
    Relation("RQ", "replaced_by", "RQ", "replaces", 3, "SNOMEDCT_US"),
    Relation("AQ", "", "QB", "", 2, "MSH"),
    Relation("RL", "mapped_to", "RL", "mapped_from", 1, "SNOMEDCT_US ICD10CM"),
)
