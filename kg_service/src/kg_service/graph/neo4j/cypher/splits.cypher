MATCH (image:Image) WHERE image.split IS NOT NULL
RETURN collect(DISTINCT image.split)
