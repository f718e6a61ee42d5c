// 08 Negated findings: what captions say is not there
// `$after`, `$limit`. These mentions are kept, but no target is made of them.
MATCH (image:Image)-[mention:HAS_ATTRIBUTE {assertion: "absent"}]->(concept:Concept)
WHERE image.image_id > $after
RETURN image.image_id AS image_id, mention.text AS words, concept.name AS concept, concept.cui AS cui, image.caption AS caption
ORDER BY image_id, mention.start, cui
LIMIT $limit;
