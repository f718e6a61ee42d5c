// Concepts that are new, or have another name, types or source than is stored.
UNWIND $concepts AS row
MERGE (concept:Concept {cui: row[0]})
SET concept.name = row[1], concept.semantic_types = row[2], concept.source = row[3], concept.revision = $revision
