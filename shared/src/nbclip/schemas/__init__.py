"""Requests and answers of the REST API, with their limits, a file for each family: what both programs speak."""
