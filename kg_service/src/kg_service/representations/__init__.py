"""The graph to image vectors: one file a method."""
