MATCH (concept:Concept)
RETURN collect(concept.cui)
