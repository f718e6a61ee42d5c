"""The optimizer, and the learning rate of each step."""
