// 07 Unlinked captions: images without a concept
// `$after`, `$limit`. Nothing in the caption was found, or only what it negates: such an image has no soft targets.
MATCH (image:Image)
WHERE image.image_id > $after AND NOT EXISTS { (image)-[:HAS_ATTRIBUTE {assertion: "present"}]->(:Concept) }
RETURN image.image_id AS image_id, image.caption AS caption, image.dataset AS dataset, image.split AS split
ORDER BY image_id
LIMIT $limit;
