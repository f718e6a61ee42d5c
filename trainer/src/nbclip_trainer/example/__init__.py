"""A tiny example that comes with the trainer: pictures, captions and a vocabulary, all CC0."""
