"""The server: connections, limits, logs and metrics."""
