// How many nodes with this graph's labels it did not write.
RETURN [COUNT { MATCH (image:Image) WHERE image.revision IS NULL }, COUNT { MATCH (concept:Concept) WHERE concept.revision IS NULL }]
