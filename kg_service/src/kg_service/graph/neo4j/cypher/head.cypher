// Which graph this is, its last write transaction, its counts (kept by the server, not counted), and the mirrors' signatures.
MATCH (state:GraphState {name: "graph"})
RETURN [state.graph_id, state.revision,
  COUNT { (:Image) }, COUNT { (:Concept) }, COUNT { ()-[:HAS_ATTRIBUTE]->() }, COUNT { ()-[:IS_A]->() },
  [key IN keys(state) WHERE key STARTS WITH "mirror_" | state[key]]]
