// 09 Hubs: the concepts of the most images
// `$limit`. The most mentioned concepts, and how many images have them; on a million images this takes a while.
MATCH (concept:Concept)
WITH concept, count { (concept)<-[:HAS_ATTRIBUTE]-() } AS mentions
ORDER BY mentions DESC, concept.cui
LIMIT $limit
MATCH (concept)<-[:HAS_ATTRIBUTE {assertion: "present"}]-(image:Image)
RETURN concept.cui AS cui, concept.name AS concept, count(DISTINCT image) AS images, mentions
ORDER BY images DESC, cui;
