"""Data: the emoji-scene generator, sources of captioned pictures, and caches for training."""
