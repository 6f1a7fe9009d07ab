"""The prior, trained."""
