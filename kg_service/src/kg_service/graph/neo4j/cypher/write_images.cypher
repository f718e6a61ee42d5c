// Images that are new, or have lost their edges: of those their own properties are set anew, and none is taken away.
// Answers with the number of edges made: fewer than asked for where a concept is missing.
UNWIND $given.images AS row
MERGE (image:Image {image_id: row[0]})
SET image.name = row[0], image.caption = row[1], image.caption_sha256 = row[2], image.dataset = row[3], image.split = row[4],
  image.ingested_at = row[5], image.revision = $given.revision
WITH image, row
UNWIND row[6] AS edge
MATCH (concept:Concept {cui: edge[0]})
CREATE (image)-[:HAS_ATTRIBUTE {key: edge[8], text: edge[1], start: edge[2], end: edge[3], score: edge[4], rule: edge[5],
  assertion: edge[6], linker: edge[7]}]->(concept)
RETURN count(*)
