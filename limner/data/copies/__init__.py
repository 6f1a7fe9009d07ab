"""Copies and near-copies of pictures."""
