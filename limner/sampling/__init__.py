"""Sampling: pure functions from logits to choices."""
