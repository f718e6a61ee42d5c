"""Captions to mentions of concepts: the contract, assertion, and the linkers."""
