"""Pictures and codes by batches, for training."""
