"""The command `kg-service`."""
