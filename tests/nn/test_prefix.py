"""A text before a picture's cells: its places do not depend on padding, and nobody sees padding."""

import torch

from limner.nn.prefix import prefix_mask, text_coordinates

TEXT = torch.tensor([[0, 0, 5, 6], [1, 2, 3, 4]])


def test_text_ends_before_the_picture_however_it_is_padded() -> None:
    where = text_coordinates(TEXT)
    assert where.shape == (2, 4, 2)
    assert where[0, :, 0].tolist() == where[1, :, 1].tolist() == [-4, -3, -2, -1]


def test_cells_see_text_text_sees_text_and_padding_sees_itself() -> None:
    causal = torch.ones(2, 2, dtype=torch.bool).tril()
    mask = prefix_mask(TEXT, causal)[:, 0].int()
    assert mask.shape == (2, 6, 6)
    assert mask[0].tolist() == [
        [1, 0, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 1],
    ]
    assert mask[1, 4].tolist() == [1, 1, 1, 1, 1, 0]
