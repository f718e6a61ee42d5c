// Edges that are stored with another source.
UNWIND $given.edges AS row
MATCH (subject:Concept {cui: row[0]})-[relation]->(:Concept {cui: row[2]}) WHERE relation.key = row[3]
SET relation.source = row[4], subject.revision = $given.revision
