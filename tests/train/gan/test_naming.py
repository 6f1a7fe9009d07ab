"""What a codec reads in drawn latents is a loss: 0 for the truth, and a gradient for the latent."""

import math

import torch

from limner.train.gan.naming import Reading, naming_loss, read
from tests.nn.test_things import decoder


def test_numbers_are_the_sum_of_what_the_cells_say() -> None:
    model, latents = decoder(), torch.randn(3, 5, 4, 4)
    model.reader.place.bias.copy_(torch.tensor([0.0, 9.0, 0, 0, 1]))  # half a thing a cell
    for name in ("weight", "bias"):
        getattr(model.reader.name, name).zero_()
    model.reader.name.bias[2] = math.log(6)  # of four nouns, one is nothing: 1, 1, 6 and 1
    (nouns, colours, _), whole = read(model, latents)
    assert whole.shape == (3, 64) and nouns.shape == (3, 3) and colours.shape == (3, 3)
    torch.testing.assert_close(nouns[0], 16 * 0.5 * torch.tensor([1.0, 6.0, 1.0]) / 9)
    torch.testing.assert_close(colours[0], 16 * 0.5 * 8 / 9 * torch.full((3,), 1 / 3))


def test_the_truth_costs_nothing_and_anything_else_something() -> None:
    model = decoder()
    true, other = torch.randn(2, 5, 4, 4), torch.randn(2, 5, 4, 4, requires_grad=True)
    wanted = read(model, true)
    assert float(naming_loss(wanted, wanted)) == 0
    missing = Reading([each * 0 for each in wanted.numbers], wanted.whole)
    assert float(naming_loss(missing, wanted)) > 0 and float(naming_loss(wanted, missing)) > 0
    loss = naming_loss(read(model, other), wanted)
    loss.backward()
    assert float(loss.detach()) > 0 and other.grad is not None and other.grad.abs().sum() > 0
