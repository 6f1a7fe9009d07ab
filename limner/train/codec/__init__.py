"""The codec, trained."""
