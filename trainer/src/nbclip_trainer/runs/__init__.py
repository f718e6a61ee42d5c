"""A run's folder: facts, checkpoints, figures, results."""
