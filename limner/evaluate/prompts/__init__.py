"""Measuring a model by prompts of any kind."""
