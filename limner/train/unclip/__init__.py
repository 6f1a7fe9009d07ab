"""unCLIP's decoder, prior and upsampler, trained."""
