// 01 Schema: labels and relationship types
// Images have concepts as attributes, a concept is_a its parents, and one GraphState counts the writes.
CALL db.schema.visualization();
