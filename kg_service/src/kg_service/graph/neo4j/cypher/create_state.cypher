MERGE (state:GraphState {name: "graph"})
ON CREATE SET state.graph_id = randomUUID(), state.schema_version = $given.schema_version, state.revision = 0
