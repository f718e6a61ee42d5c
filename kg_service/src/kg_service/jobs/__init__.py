"""Bulk work that is kept on disk before it is acknowledged."""
