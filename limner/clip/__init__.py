"""CLIP: pictures and texts as unit vectors that can be compared."""
