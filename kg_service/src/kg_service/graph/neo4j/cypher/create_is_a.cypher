// Answers with the number of edges made: fewer than asked for where a concept is missing.
UNWIND $given.children AS row
MATCH (child:Concept {cui: row[0]})
SET child.revision = $given.revision
WITH child, row
UNWIND row[1] AS edge
MATCH (parent:Concept {cui: edge[0]})
CREATE (child)-[:IS_A {key: row[0] + " " + edge[0], source: edge[1]}]->(parent)
RETURN count(*)
