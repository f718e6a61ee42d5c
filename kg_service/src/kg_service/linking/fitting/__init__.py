"""Learning a prior from labelled captions, and scoring linkers."""
