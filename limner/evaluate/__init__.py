"""Evaluation: what a model's pictures show, measured without a trained judge."""
