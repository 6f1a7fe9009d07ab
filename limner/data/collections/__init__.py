"""Picture collections that anyone can install, read as captioned pictures."""
