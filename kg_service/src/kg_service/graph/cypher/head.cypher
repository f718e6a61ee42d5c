// Which graph this is, its last write transaction, and its counts (kept by the server, not counted).
MATCH (state:GraphState {name: "graph"})
RETURN [state.graph_id, state.revision,
  COUNT { (:Image) }, COUNT { (:Concept) }, COUNT { ()-[:HAS_ATTRIBUTE]->() }, COUNT { ()-[:IS_A]->() }]
