// Each with the is_a edges that leave it.
MATCH (concept:Concept) WHERE concept.cui IN $cuis
RETURN collect([concept.cui, concept.name, concept.semantic_types, concept.source,
  [(concept)-[edge:IS_A]->(parent) | [parent.cui, edge.source]]])
