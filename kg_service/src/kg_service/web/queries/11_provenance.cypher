// 11 Provenance: what one rule of one linker found
// `$linker`, `$rule`, `$after`, `$limit`. Click a mention of query 03 to see its linker and rule.
MATCH (image:Image)-[mention:HAS_ATTRIBUTE {linker: $linker, rule: $rule}]->(concept:Concept)
WHERE image.image_id > $after
RETURN image.image_id AS image_id, mention.text AS words, concept.name AS concept, concept.cui AS cui,
  mention.score AS score, mention.assertion AS assertion, image.caption AS caption
ORDER BY image_id, mention.start, cui
LIMIT $limit;
