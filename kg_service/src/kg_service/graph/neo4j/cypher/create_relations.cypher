// Answers with the number of edges made: fewer than asked for where a concept is missing. The type is a value: no name of a relation
// is ever read as Cypher.
UNWIND $given.edges AS row
MATCH (subject:Concept {cui: row[0]})
MATCH (target:Concept {cui: row[2]})
SET subject.revision = $given.revision
CREATE (subject)-[:$(row[1]) {key: row[3], source: row[4]}]->(target)
RETURN count(*)
