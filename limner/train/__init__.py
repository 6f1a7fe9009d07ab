"""Training: one loop, one step object for each trainable part."""
