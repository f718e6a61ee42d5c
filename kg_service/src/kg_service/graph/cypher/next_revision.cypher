// Opens a write transaction: until it ends no other writer gets past this line, so that what is read now stays true.
MATCH (state:GraphState {name: "graph"})
SET state.revision = state.revision + 1
RETURN [state.graph_id, state.revision]
