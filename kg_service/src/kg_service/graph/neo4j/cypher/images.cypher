// An edge that somebody made by hand is one that was given: what it lacks is as `AttributeEdge` has it.
MATCH (image:Image) WHERE image.image_id IN $given.image_ids
RETURN collect([image.image_id, coalesce(image.caption, ""), image.dataset, image.split, coalesce(image.ingested_at, ""),
  [(image)-[edge:HAS_ATTRIBUTE]->(concept:Concept) |
    [concept.cui, coalesce(edge.text, ""), coalesce(edge.start, -1), coalesce(edge.end, -1), coalesce(edge.score, 1.0),
     coalesce(edge.rule, "given"), coalesce(edge.assertion, "present"), coalesce(edge.linker, "given")]]])
