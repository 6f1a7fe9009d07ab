"""The perceptual features, trained."""
