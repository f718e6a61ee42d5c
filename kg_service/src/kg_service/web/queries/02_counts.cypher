// 02 Counts: nodes and relationships
// Neo4j keeps these numbers, so the answer comes at once however large the graph is.
MATCH (:Image) RETURN "images" AS what, count(*) AS number
UNION ALL
MATCH (:Concept) RETURN "concepts" AS what, count(*) AS number
UNION ALL
MATCH (:Image)-[:HAS_ATTRIBUTE]->() RETURN "mentions of a concept in a caption" AS what, count(*) AS number
UNION ALL
MATCH (:Concept)-[:IS_A]->() RETURN "is_a" AS what, count(*) AS number;
