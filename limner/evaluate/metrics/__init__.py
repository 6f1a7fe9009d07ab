"""Metrics of pictures, and the networks whose features they compare."""
