// Each with the is_a edges that leave it. An offline import leaves out a list that is empty.
MATCH (concept:Concept) WHERE concept.cui IN $given.cuis
RETURN collect([concept.cui, concept.name, coalesce(concept.semantic_types, []), concept.source,
  [(concept)-[edge:IS_A]->(parent) | [parent.cui, edge.source]]])
