"""The hybrid, the default: weighted concepts and their ancestors beside a co-occurrence part."""

from kg_service.representations.hybrid.hybrid import CONCEPTS, METHOD, FittedHybrid, Hybrid

__all__ = ["CONCEPTS", "METHOD", "FittedHybrid", "Hybrid"]
