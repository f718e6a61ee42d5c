"""Trains image-text models with soft targets that the NB-CLIP knowledge-graph service gives, and scores what they retrieve."""
