// Concepts that are stored with another name, types or source.
UNWIND $given.concepts AS row
MATCH (concept:Concept {cui: row[0]})
SET concept.name = row[1], concept.semantic_types = row[2], concept.source = row[3], concept.revision = $given.revision
