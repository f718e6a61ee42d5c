"""The knowledge graph and where it is kept."""

from kg_service.graph.stores import open_store, probe, require_store, store_file

__all__ = ["open_store", "probe", "require_store", "store_file"]
