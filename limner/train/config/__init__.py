"""A run's file as checked dataclasses."""
