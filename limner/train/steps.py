"""Training steps: what one optimiser step does for each trainable part.

A step object owns its modules, optimisers and averages; `__call__(step) -> numbers` does one
update, `validate() -> numbers` measures, `samples() -> images` shows and `export` hands on: these
three are called while the averaged weights stand in place. The loop knows nothing else.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData
from limner.train.optimizer import EMA


class TrainingStep(Protocol):
    """One trainable part, as the loop sees it.

    `notes` is what the person who trains should know of how it was set up; `made_of` holds hashes
    of what its weights were trained on, which must be the same to resume. `judged` names the number
    of `validate` that says how good the part is, and whether more of it (1) or less (-1) is better.
    `batches` is what each step takes the next one of, filled by `start`.
    """

    notes: list[str]
    made_of: dict[str, str]
    modules: dict[str, nn.Module]
    averages: dict[str, EMA]
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler | None
    judged: tuple[str, int]
    batches: Iterator[Any]

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        ...

    def __call__(self, step: int) -> dict[str, float]:
        """Do one update and return its numbers."""
        ...

    def validate(self) -> dict[str, float]:
        """Measure on pictures that training never sees."""
        ...

    def samples(self) -> Tensor:
        """Return pictures (B, 3, H, W) that show what has been learnt."""
        ...

    def export(self, out: Path) -> None:
        """Write the averaged weights in the form that the next stage reads."""
        ...


@runtime_checkable
class Reacting(Protocol):
    """A step that acts on its own validation: it may change its weights, or ask to stop.

    `stopped` says why the run is to end; "" while it goes on.
    """

    stopped: str

    def react(self, validation: dict[str, float]) -> list[str]:
        """Take the numbers of `validate`, the averages not in place; return what to tell."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A step that can tell whether what it draws was learnt by heart."""

    def repeated(self, samples: Tensor) -> list[str]:
        """Return what to tell of samples (B, 3, H, W) that repeat training pictures."""
        ...


def create_step(config: TrainConfig, data: OwnData | None = None) -> TrainingStep:
    """Return the training step of a config's task; `data` where its pictures are opened already."""
    from limner.train.adapter.step import AdaptStep
    from limner.train.clip.step import ClipStep
    from limner.train.codec.step import CodecStep
    from limner.train.features.step import FeaturesStep
    from limner.train.gan.step import GanStep
    from limner.train.prior.step import PriorStep
    from limner.train.unclip.step import DecoderStep, EmbeddingPriorStep, UpsamplerStep

    unclip = {
        "decoder": DecoderStep, "embedding_prior": EmbeddingPriorStep, "upsampler": UpsamplerStep,
    }  # fmt: skip
    if config.task in unclip:
        return unclip[config.task](config)
    if config.task == "features":
        return FeaturesStep(config)
    if config.task == "clip":
        return ClipStep(config)
    if config.task == "gan":
        return GanStep(config, data)
    if config.task == "adapt":
        return AdaptStep(config, data)
    return (CodecStep if config.task == "codec" else PriorStep)(config, data)
