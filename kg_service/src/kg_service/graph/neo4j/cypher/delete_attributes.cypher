UNWIND $given.image_ids AS image_id
MATCH (:Image {image_id: image_id})-[edge:HAS_ATTRIBUTE]->(:Concept)
DELETE edge
RETURN count(*)
