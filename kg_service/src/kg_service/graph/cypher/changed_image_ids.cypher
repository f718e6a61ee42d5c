MATCH (image:Image) WHERE image.revision > $since
RETURN collect(image.image_id)
