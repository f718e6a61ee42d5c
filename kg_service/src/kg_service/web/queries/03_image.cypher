// 03 Image: the concepts of its caption
// `$image_id`. A relationship is a mention: click it for the words, the score, and the rule and linker that found it.
MATCH path = (:Image {image_id: $image_id})-[:HAS_ATTRIBUTE]->(:Concept)
RETURN path;
