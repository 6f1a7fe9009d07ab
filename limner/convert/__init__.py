"""Checkpoints of other libraries as model folders of limner; `formats` has the table of them."""
