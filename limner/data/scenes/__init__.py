"""Emoji scenes: a deterministic world of captioned pictures."""
