"""The adapter, trained."""
