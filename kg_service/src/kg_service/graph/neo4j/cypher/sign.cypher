// Takes the writers' turn without writing to the graph, and leaves a mirror's signature.
MATCH (state:GraphState {name: "graph"})
SET state += $given.signature
RETURN state.graph_id
