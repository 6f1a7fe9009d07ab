"""The GAN, trained."""
