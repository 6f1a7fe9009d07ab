"""Captioned pictures from folders, tables, shards and the hub."""
