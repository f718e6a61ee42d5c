"""Files of captions to the graph: read, link, write."""
