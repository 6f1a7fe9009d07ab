"""What a GAN is watched for: pictures that are all alike, and a discriminator that knows all.

Decided by the numbers of one validation alone, so that a collapse is told at the next one.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.evaluate.metrics.distributions import Neighbours, frechet_distance, vendi_score
from limner.train.optimizer import EMA

LEAST_VARIETY = 0.3  # of the true pictures' Vendi score
LEAST_RECALL = 0.01
LEAST_BALANCE = 0.02
NEIGHBOURS = 3
CELLS = 8  # a side, of the small pictures that are compared where no CLIP sees them


def small_features(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) as vectors (B, 192): their means in 8 x 8 cells."""
    return F.adaptive_avg_pool2d(images.float(), CELLS).flatten(1)


def measures(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """Return how far drawn pictures are from true ones, and how varied, by features (N, D) of both.

    `distance` is Frechet's, `recall` the share of true pictures that have a drawn one near, and
    `variety` the drawn pictures' Vendi score over that of the true ones.
    """
    centre = real.mean(0)  # what all true pictures share says nothing
    # A column that all share: pictures that are all the centre have a direction then.
    real, drawn = (F.pad(each - centre, (0, 1), value=1e-3) for each in (real, drawn))
    recall = Neighbours(real, drawn).precision_recall(neighbours=NEIGHBOURS)[1]
    vendi = vendi_score(drawn)
    return {
        "distance": frechet_distance(real, drawn),
        "recall": recall,
        "vendi": vendi,
        "variety": vendi / vendi_score(real),
    }


def signs_of_collapse(numbers: Mapping[str, float]) -> list[str]:
    """Return what says that the generator draws the same again and again; [] where nothing does."""
    found = []
    if numbers["variety"] < LEAST_VARIETY:
        found.append(
            f"collapse: drawn pictures are {numbers['variety']:.1%} as varied as true ones; lower "
            "the learning rates, or raise gan_training.penalty_weight"
        )
    elif numbers["recall"] < LEAST_RECALL:
        found.append(
            f"collapse: {numbers['recall']:.1%} of the true pictures have a drawn one near; lower "
            "the learning rates, or raise gan_training.penalty_weight"
        )
    return found


def signs_of_defeat(numbers: Mapping[str, float]) -> list[str]:
    """Return what says that the discriminator has left the generator nothing to learn."""
    if numbers["balance"] >= LEAST_BALANCE:
        return []
    return [
        f"the discriminator wins: its loss is {numbers['balance']:.1%} of the generator's; lower "
        "gan_training.discriminator_rate, or raise gan_training.penalty_weight"
    ]


class SoundWeights(nn.Module):
    """Weights of the last sound validation, as buffers, so that a run's state holds them too.

    `restored` counts how often they came back.
    """

    restored: Tensor
    sound: Tensor

    def __init__(self, modules: Mapping[str, nn.Module], averages: Mapping[str, EMA]) -> None:
        super().__init__()
        self.places = {
            f"{name}/{key}".replace(".", "/"): value  # a buffer's name has no dot
            for name, module in modules.items()
            for key, value in module.state_dict(keep_vars=True).items()
        }
        for name, average in averages.items():
            for index, value in enumerate(average.values):
                self.places[f"average/{name}/{index}"] = value
        for key, value in self.places.items():
            self.register_buffer(key, value.detach().clone())
        self.register_buffer("restored", torch.tensor(0))
        self.register_buffer("sound", torch.tensor(False))

    @torch.no_grad()
    def keep(self) -> None:
        """Take the weights as they are."""
        for key, value in self.places.items():
            self.get_buffer(key).copy_(value)
        self.sound.fill_(True)  # a tensor, so that a state holds it

    @torch.no_grad()
    def restore(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Put the kept weights back, and let the optimisers begin afresh."""
        for key, value in self.places.items():
            value.copy_(self.get_buffer(key))
        for optimizer in optimizers:
            for entries in optimizer.state.values():
                for value in entries.values():
                    value.zero_()  # moments of weights that are gone would pull them back
        self.restored += 1
