// Each with the is_a edges and the typed edges that leave it: the key of these says that they are this graph's.
// An offline import leaves out a list that is empty.
MATCH (concept:Concept) WHERE concept.cui IN $given.cuis
RETURN collect([concept.cui, coalesce(concept.name, ""), coalesce(concept.semantic_types, []), coalesce(concept.source, ""),
  [(concept)-[edge:IS_A]->(parent:Concept) | [parent.cui, coalesce(edge.source, "")]],
  [(concept)-[edge]->(target:Concept) WHERE edge.key = concept.cui + " " + type(edge) + " " + target.cui |
    [type(edge), target.cui, coalesce(edge.source, "")]]])
