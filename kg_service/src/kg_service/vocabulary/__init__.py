"""RRF files to a memory-mapped vocabulary."""
