"""Votes between pictures: their store, and what they say."""
