// An edge that somebody made by hand is one that was given: what it lacks is as `AttributeEdge` has it.
// `words` are in lower case; of the others null or an empty one asks for nothing.
MATCH (image:Image) WHERE image.image_id > $given.after
  AND all(word IN $given.words WHERE toLower(coalesce(image.caption, "")) CONTAINS word)
  AND ($given.cui = "" OR EXISTS { (image)-[:HAS_ATTRIBUTE]->(:Concept {cui: $given.cui}) })
  AND ($given.score_below IS NULL OR EXISTS {
    MATCH (image)-[edge:HAS_ATTRIBUTE]->(:Concept) WHERE coalesce(edge.score, 1.0) < $given.score_below })
WITH image ORDER BY image.image_id LIMIT $given.limit
RETURN collect([image.image_id, coalesce(image.caption, ""), image.dataset, image.split, coalesce(image.ingested_at, ""),
  [(image)-[edge:HAS_ATTRIBUTE]->(concept:Concept) |
    [concept.cui, coalesce(edge.text, ""), coalesce(edge.start, -1), coalesce(edge.end, -1), coalesce(edge.score, 1.0),
     coalesce(edge.rule, "given"), coalesce(edge.assertion, "present"), coalesce(edge.linker, "given")]]])
