"""A run's settings: the tree of all rooms' sections, read from presets, files and `--set`, and kept in a run's folder."""
