"""The loop: steps, validation, checkpoints, diagnostics, and the ways in which a run can stop."""
