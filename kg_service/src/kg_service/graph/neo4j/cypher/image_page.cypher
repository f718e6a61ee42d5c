MATCH (image:Image) WHERE image.image_id > $given.after
WITH image ORDER BY image.image_id LIMIT $given.limit
RETURN collect([image.image_id, image.caption, image.dataset, image.split, image.ingested_at,
  [(image)-[edge:HAS_ATTRIBUTE]->(concept) |
    [concept.cui, edge.text, edge.start, edge.end, edge.score, edge.rule, edge.assertion, edge.linker]]])
