"""A decoder that reads and paints things, trained on scenes."""
