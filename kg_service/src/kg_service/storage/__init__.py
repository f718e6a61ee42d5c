"""How anything reaches the disk: durable replacement, locks, artefacts."""
