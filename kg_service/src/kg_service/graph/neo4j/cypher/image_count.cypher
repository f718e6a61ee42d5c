MATCH (image:Image)-[edge:HAS_ATTRIBUTE]->(:Concept {cui: $given.cui}) WHERE edge.assertion = "present"
RETURN count(DISTINCT image)
