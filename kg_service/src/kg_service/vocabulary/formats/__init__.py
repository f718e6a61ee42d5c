"""The formats of releases: each gives rows as a UMLS release has them (`release.Source`)."""
