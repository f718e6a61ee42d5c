"""The linker over a spaCy pipeline."""
