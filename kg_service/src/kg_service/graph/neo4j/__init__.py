"""The graph store in Neo4j, with its local mirror."""
