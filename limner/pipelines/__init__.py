"""Pipelines: one story file for each family, from a request to pictures."""
