"""The perceptual features' training step: name object and colour of single-object scenes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from limner.codecs.features import FeatureNetwork
from limner.data.batches.batches import graph_at, pixels_to_tensor, stream
from limner.data.scenes.nouns import noun_index, nouns
from limner.data.scenes.scene import render
from limner.data.scenes.sprites import COLOURS, find_font
from limner.nn.ranks import ALONE, World, world
from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData
from limner.train.steps import Step, precision

FEATURES_FILE = "features.safetensors"
COLOUR_NAMES = (*COLOURS, "mixed")
SINGLES = 1  # the level of scenes with one object
SIZE = 64


class LabelledScenes(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Batches of single objects with the numbers of their noun and colour."""

    def __init__(self, split: str, batch: int, seed: int, world: World = ALONE) -> None:
        self.split, self.batch, self.seed, self.font = split, batch, seed, find_font()
        self.world = world

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, 3, 64, 64), objects (B,) and colours (B,): a rank's of one step."""
        pictures, objects, colours = [], [], []
        batch = range(step * self.batch, (step + 1) * self.batch)
        for index in batch[self.world.of(self.batch)]:
            graph = graph_at(self.split, index, self.seed, SINGLES)
            thing = graph.things[0]
            pictures.append(render(graph, SIZE, font=self.font))
            objects.append(noun_index()[thing.noun])
            colours.append(COLOUR_NAMES.index(thing.colour or thing.entry.colour))
        return pixels_to_tensor(np.stack(pictures)), torch.tensor(objects), torch.tensor(colours)


class FeaturesStep(Step):
    """Cross-entropy on object and colour."""

    judged = ("object", 1)

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        self.network = FeatureNetwork(len(nouns()), len(COLOUR_NAMES)).to(self.device)
        self.learn("features", self.network, self.network.classify)

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        loop = self.config.loop
        source = LabelledScenes("train", loop.batch, self.config.data.seed, world())
        self.batches = stream(source, range(step, loop.steps))

    def __call__(self, step: int) -> dict[str, float]:
        """Update the network once."""
        images, objects, colours = (part.to(self.device) for part in next(self.batches))
        return self.update(self._losses(images, objects, colours), step)

    def _losses(self, images: Tensor, objects: Tensor, colours: Tensor) -> Iterator[Tensor]:
        for rows, share in self.parts(len(images)):
            named, painted = self.parallel.run(images[rows])
            loss = F.cross_entropy(named.float(), objects[rows])
            yield (loss + F.cross_entropy(painted.float(), colours[rows])) * share

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the shares of objects and colours named rightly on held-out combinations."""
        source = LabelledScenes("held_out", 64, self.config.data.seed)
        right = torch.zeros(2, device=self.device)
        count = self.config.data.held_for_validation
        for first in range(0, count, 64):  # the last batch is cut
            images, objects, colours = (
                part[: count - first].to(self.device) for part in source[first // 64]
            )
            with precision(self.config):
                named, painted = self.network.classify(images)
            right[0] += (named.argmax(1) == objects).sum()
            right[1] += (painted.argmax(1) == colours).sum()
        return {"object": float(right[0]) / count, "colour": float(right[1]) / count}

    def samples(self) -> Tensor:
        """Return what the network looks at."""
        return LabelledScenes("held_out", 32, self.config.data.seed)[0][0]

    def export(self, out: Path) -> None:
        """Write `features.safetensors` with the averaged weights."""
        tensors = {k: v.detach().contiguous().clone() for k, v in self.network.state_dict().items()}
        save_file(tensors, out / FEATURES_FILE)
