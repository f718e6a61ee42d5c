// Edges that are new, or have another source than is stored.
UNWIND $edges AS row
MATCH (child:Concept {cui: row[0]})
MATCH (parent:Concept {cui: row[1]})
MERGE (child)-[is_a:IS_A {key: row[0] + " " + row[1]}]->(parent)
SET is_a.source = row[2], child.revision = $revision
