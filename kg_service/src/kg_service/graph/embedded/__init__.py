"""The graph store in one SQLite file."""
