MATCH (concept:Concept) WHERE concept.revision > $given.since
RETURN collect(concept.cui)
