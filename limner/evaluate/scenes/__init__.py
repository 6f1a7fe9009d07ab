"""The scene score: what drawn scenes show, read without a trained judge."""
