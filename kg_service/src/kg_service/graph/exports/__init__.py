"""A graph to files, or to another store."""
