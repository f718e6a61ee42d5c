// 10 Captions: of a concept and everything below it
// `$cui`, `$limit`. The first that are found, in no order, so that even a concept of half the images is answered at once.
MATCH (:Concept {cui: $cui})<-[:IS_A*0..]-(concept:Concept)
WITH DISTINCT concept
MATCH (concept)<-[mention:HAS_ATTRIBUTE {assertion: "present"}]-(image:Image)
RETURN concept.name AS concept, mention.text AS words, image.image_id AS image_id, image.caption AS caption
LIMIT $limit;
