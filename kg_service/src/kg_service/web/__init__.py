"""The inspection page, and files for Neo4j Browser."""
