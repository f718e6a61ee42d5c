"""TransE, the paper's method: learned vectors of concepts and images."""

from kg_service.representations.transe.transe import FAST, METHOD, PAPER, PRESETS, FittedTransE, TransE

__all__ = ["FAST", "METHOD", "PAPER", "PRESETS", "FittedTransE", "TransE"]
