// 04 Ancestors: all that an image is about
// `$image_id`. Its concepts, without those that the caption negates, and whatever is above them by is_a.
MATCH path = (:Image {image_id: $image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept)
RETURN path
UNION
MATCH (:Image {image_id: $image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept)-[:IS_A*0..]->(concept:Concept)
WITH DISTINCT concept
MATCH path = (concept)-[:IS_A]->(:Concept)
RETURN path;
