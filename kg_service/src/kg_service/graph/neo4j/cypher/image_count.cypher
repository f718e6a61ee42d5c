MATCH (image:Image)-[edge:HAS_ATTRIBUTE]->(:Concept {cui: $given.cui}) WHERE coalesce(edge.assertion, "present") = "present"
RETURN count(DISTINCT image)
