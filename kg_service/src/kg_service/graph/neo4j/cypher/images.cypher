MATCH (image:Image) WHERE image.image_id IN $given.image_ids
RETURN collect([image.image_id, image.caption, image.dataset, image.split, image.ingested_at,
  [(image)-[edge:HAS_ATTRIBUTE]->(concept) |
    [concept.cui, edge.text, edge.start, edge.end, edge.score, edge.rule, edge.assertion, edge.linker]]])
