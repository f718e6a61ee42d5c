// 06 Why alike: what two images have in common
// `$image_id`, `$other_image_id`. From both, the shortest ways to the concepts that they share and to their nearest common
// ancestors: those that have no other common one below them.
MATCH (:Image {image_id: $image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept)-[:IS_A*0..]->(ancestor:Concept)
WITH collect(DISTINCT ancestor) AS ancestors
MATCH (:Image {image_id: $other_image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept)-[:IS_A*0..]->(ancestor:Concept)
WHERE ancestor IN ancestors
WITH collect(DISTINCT ancestor) AS common
UNWIND common AS nearest
WITH common, nearest WHERE NOT EXISTS { MATCH (nearest)<-[:IS_A]-(lower:Concept) WHERE lower IN common }
MATCH (image:Image) WHERE image.image_id IN [$image_id, $other_image_id]
MATCH mention = (image)-[:HAS_ATTRIBUTE {assertion: "present"}]->(concept:Concept)
MATCH path = ALL SHORTEST (concept)-[:IS_A]->*(nearest)
RETURN mention, path;
