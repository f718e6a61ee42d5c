MATCH (concept:Concept) WHERE concept.revision > $since
RETURN collect(concept.cui)
