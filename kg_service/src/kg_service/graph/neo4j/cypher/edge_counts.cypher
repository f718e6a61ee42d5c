// How much there is to read of each, edges of other programs included: the server knows it without looking at them.
MATCH (image:Image) WHERE image.image_id IN $given.image_ids
RETURN collect([image.image_id, COUNT { (image)-[:HAS_ATTRIBUTE]->() }])
