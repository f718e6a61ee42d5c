"""Pages of evaluated runs."""
