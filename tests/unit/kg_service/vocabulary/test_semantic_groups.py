from kg_service.vocabulary.semantic_groups import group_types, groups_of


def test_groups_are_the_fifteen_of_the_umls_and_share_no_type():
    types = [tui for tuis in group_types().values() for tui in tuis]
    assert len(group_types()) == 15
    assert len(types) == len(set(types))


def test_a_concept_has_the_groups_of_its_types():
    assert groups_of(["T047", "T023", "T033"]) == ("ANAT", "DISO")
    assert groups_of(["T999"]) == ()
