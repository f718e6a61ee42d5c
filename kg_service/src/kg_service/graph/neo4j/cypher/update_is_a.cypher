// Edges that are stored with another source.
UNWIND $given.edges AS row
MATCH (child:Concept {cui: row[0]})-[is_a:IS_A]->(:Concept {cui: row[1]})
SET is_a.source = row[2], child.revision = $given.revision
