UNWIND $given.concepts AS row
CREATE (:Concept {cui: row[0], name: row[1], semantic_types: row[2], source: row[3], revision: $given.revision})
