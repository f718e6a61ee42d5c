// What the database holds: the schema's version (null: no graph of ours), and whether it has such nodes of another program.
OPTIONAL MATCH (state:GraphState {name: "graph"})
RETURN [state.schema_version, EXISTS { MATCH (:Image) } OR EXISTS { MATCH (:Concept) }]
