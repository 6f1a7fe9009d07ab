"""Building blocks: attention, convolution, norms."""
