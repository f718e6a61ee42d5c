MATCH (image:Image) WHERE image.revision > $given.since
RETURN collect(image.image_id)
