// What the database holds: a node that says so, of which graph and schema it is, and whether there are images or concepts.
OPTIONAL MATCH (state:GraphState {name: "graph"})
RETURN [state IS NOT NULL, state.graph_id, state.schema_version, EXISTS { MATCH (:Image) } OR EXISTS { MATCH (:Concept) }]
