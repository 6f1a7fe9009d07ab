"""Data: the emoji-scene generator and the caches that training reads."""
