// 05 Nearest images: by shared concepts, rare ones first
// `$image_id`, `$limit`. A shared concept counts by its IDF, ln((N + 1) / (n + .5)) where n of N images have it; a score of 1
// shares all that this image has. Concepts mentioned more than `$most_mentions` times are skipped, because they say little.
// The service's targets come from a snapshot and weigh more: ancestors, and concepts that occur together.
MATCH (:Image)
WITH count(*) AS images
MATCH (image:Image {image_id: $image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(concept:Concept)
WHERE count { (concept)<-[:HAS_ATTRIBUTE]-() } <= $most_mentions
WITH DISTINCT images, image, concept
MATCH (concept)<-[:HAS_ATTRIBUTE {assertion: "present"}]-(holder:Image)
WITH images, image, concept, collect(DISTINCT holder) AS holders
WITH image, concept, holders, log((images + 1) / (size(holders) + 0.5)) AS idf ORDER BY idf DESC, concept.cui
WITH image, sum(idf) AS total, collect({name: concept.name, idf: idf, holders: holders}) AS attributes
UNWIND attributes AS attribute
UNWIND attribute.holders AS other
WITH total, attribute, other WHERE other <> image
WITH total, other, sum(attribute.idf) AS idf, collect(attribute.name) AS shared
RETURN other.image_id AS image_id, round(idf / total, 3) AS score, shared, other.caption AS caption
ORDER BY idf DESC, image_id
LIMIT $limit;
