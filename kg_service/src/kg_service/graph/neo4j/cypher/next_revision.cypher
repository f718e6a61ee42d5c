// Opens a write transaction: until it ends no other writer gets past this line, so that what is read now stays true.
// The counts are kept by the server, not counted: edges of concepts to something else are among them.
MATCH (state:GraphState {name: "graph"})
SET state.revision = state.revision + 1
RETURN [state.graph_id, state.revision, COUNT { (:Concept) }, COUNT { (:Concept)-[:IS_A]->() }]
