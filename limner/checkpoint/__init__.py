"""Model folders and adapters: written whole, read back checked."""
