// 09 Hubs: concepts over the most images
// `$limit`. Images are counted for the concepts with the most mentions, four times as many as are shown.
MATCH (concept:Concept)
WITH concept, count { (concept)<-[:HAS_ATTRIBUTE]-() } AS mentions
ORDER BY mentions DESC, concept.cui
LIMIT 4 * $limit
MATCH (concept)<-[:HAS_ATTRIBUTE {assertion: "present"}]-(image:Image)
RETURN concept.cui AS cui, concept.name AS concept, count(DISTINCT image) AS images, mentions
ORDER BY images DESC, cui
LIMIT $limit;
