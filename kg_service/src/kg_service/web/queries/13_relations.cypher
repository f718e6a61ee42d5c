// 13 Relations: what an image's concepts lead to
// `$image_id`. Typed relations of its concepts and of those above them, such as has_finding_site, called by their RELA.
// Nothing is shown where the vocabulary was built without any: kg-service vocabulary build --relation.
MATCH (:Image {image_id: $image_id})-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept)-[:IS_A*0..]->(concept:Concept)
WITH DISTINCT concept
MATCH path = (concept)-[:!IS_A]->(:Concept)
RETURN path;
