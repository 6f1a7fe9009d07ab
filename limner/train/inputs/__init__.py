"""What runs learn from: pictures, codes, captions and caches of them."""
