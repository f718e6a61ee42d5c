"""The default linker: the vocabulary's names in captions."""
