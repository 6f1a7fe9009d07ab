"""CLIP, trained."""
