// 12 Low scores: mentions to review
// `$below_score`, `$after`, `$limit`. What the linker is least sure of; `KG_LINKER_MIN_SCORE` leaves such mentions out.
MATCH (image:Image)-[mention:HAS_ATTRIBUTE]->(concept:Concept)
WHERE image.image_id > $after AND mention.score < $below_score
RETURN image.image_id AS image_id, mention.score AS score, mention.text AS words, concept.name AS concept, concept.cui AS cui,
  mention.rule AS rule, image.caption AS caption
ORDER BY image_id, mention.start, cui
LIMIT $limit;
