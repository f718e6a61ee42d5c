// Each with the is_a edges that leave it. An offline import leaves out a list that is empty.
MATCH (concept:Concept) WHERE concept.cui IN $given.cuis
RETURN collect([concept.cui, coalesce(concept.name, ""), coalesce(concept.semantic_types, []), coalesce(concept.source, ""),
  [(concept)-[edge:IS_A]->(parent:Concept) | [parent.cui, coalesce(edge.source, "")]]])
