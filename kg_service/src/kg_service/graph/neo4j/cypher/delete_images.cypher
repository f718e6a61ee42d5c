UNWIND $given.image_ids AS image_id
MATCH (image:Image {image_id: image_id})
DETACH DELETE image
RETURN count(*)
