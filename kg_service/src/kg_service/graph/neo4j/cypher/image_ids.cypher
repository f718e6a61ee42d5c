MATCH (image:Image)
RETURN collect(image.image_id)
