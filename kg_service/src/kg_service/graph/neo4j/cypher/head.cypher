// Which graph this is, its last write transaction, its counts, and the mirrors' signatures.
// The server keeps counts of edges by their type and the label of one end. Where these are all the same, every edge of the type
// is this graph's; else they are counted one by one. Typed relations are counted one by one where there are edges of other types.
MATCH (state:GraphState {name: "graph"})
WITH state, COUNT { ()-[]->() } > COUNT { ()-[:HAS_ATTRIBUTE]->() } + COUNT { ()-[:IS_A]->() } AS has_others
CALL (has_others) {
  UNWIND CASE WHEN has_others THEN [true] ELSE [] END AS once
  MATCH (subject:Concept)-[edge:!IS_A]->(target:Concept) WHERE edge.key = subject.cui + " " + type(edge) + " " + target.cui
  WITH type(edge) AS relation, count(*) AS edges
  RETURN collect([relation, edges]) AS relations
}
RETURN [state.graph_id, state.revision,
  COUNT { (:Image) }, COUNT { (:Concept) },
  CASE WHEN COUNT { ()-[:HAS_ATTRIBUTE]->() } = COUNT { (:Image)-[:HAS_ATTRIBUTE]->() }
        AND COUNT { ()-[:HAS_ATTRIBUTE]->() } = COUNT { ()-[:HAS_ATTRIBUTE]->(:Concept) }
    THEN COUNT { (:Image)-[:HAS_ATTRIBUTE]->() } ELSE COUNT { (:Image)-[:HAS_ATTRIBUTE]->(:Concept) } END,
  CASE WHEN COUNT { ()-[:IS_A]->() } = COUNT { (:Concept)-[:IS_A]->() }
        AND COUNT { ()-[:IS_A]->() } = COUNT { ()-[:IS_A]->(:Concept) }
    THEN COUNT { (:Concept)-[:IS_A]->() } ELSE COUNT { (:Concept)-[:IS_A]->(:Concept) } END,
  relations,
  [key IN keys(state) WHERE key STARTS WITH "mirror_" | state[key]]]
