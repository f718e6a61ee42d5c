// Edges that are stored with another source.
UNWIND $given.edges AS row
MATCH (child:Concept)-[is_a:IS_A {key: row[0] + " " + row[1]}]->(:Concept)
SET is_a.source = row[2], child.revision = $given.revision
