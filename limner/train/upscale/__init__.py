"""The network that enlarges pictures."""
