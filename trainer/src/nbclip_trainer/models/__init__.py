"""open_clip's models."""
