"""What every decoder shares: the process that it takes noise off by, and its loss."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.scalars import check_levels
from limner.sampling.schedule import Process
from limner.text.encoders import check_text_encoder


@dataclass(frozen=True)
class DecoderConfig:
    """What is drawn, what a decoder is told, and its process.

    `embedding` are the dimensions of the image embedding, `text_vocabulary` the ids of the text,
    each 0 where it is not told; text features have `width`. `given` are channels of a picture that
    is told as it is. `patch` x `patch` pixels make a cell. What it draws is `bounded` in [-1, 1],
    as pixels and finite scalars are and continuous latents are not. With `levels`, those of a
    codec's finite scalars, it says how likely each of their values is, and draws what is expected.
    """

    size: int = 64
    channels: int = 3
    given: int = 0
    patch: int = 4
    width: int = 128
    embedding: int = 0
    text_vocabulary: int = 0
    text_encoder: dict[str, Any] = field(default_factory=dict)
    schedule: str = "cosine"
    prediction: str = "start"
    times: int = 1000
    bounded: bool = True
    levels: tuple[int, ...] = ()
    # Whether twice the channels are predicted, the second half as `diffusion.ddpm_learned` has it.
    learns_spread: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_least(self, "size", "channels", "patch", "width")
        check_least(self, "given", "embedding", "text_vocabulary", least=0)
        Process(self.schedule, self.prediction, self.times)
        check_levels(self.levels, self.patch)
        if self.levels and self.prediction != "start":
            raise ConfigError(
                f"levels are given with prediction {self.prediction!r}; values are told apart by "
                "prediction 'start' alone",
                param="levels",
            )
        if self.text_vocabulary:
            check_text_encoder(self)


class DecoderBase(nn.Module):
    """Noised pictures x_t (B, C, H, W), times (B,) and what they are told to a prediction.

    A decoder is this and `forward(x, times, embedding, text, given)`, all told as in `UNet`.
    """

    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.process = Process(config.schedule, config.prediction, config.times)

    def loss(self, start: Tensor, noise: Tensor, times: Tensor, **told: Tensor | None) -> Tensor:
        """Return the error of the prediction at times (B,), told as in `forward`."""
        output = self(self.process.noised(start, noise, times), times, **told)
        return self.process.loss(output, self.process.target(start, noise, times), times)

    def read_by(self, clip: Any) -> None:
        """Be told the model's CLIP, which reads the text for a decoder without a text encoder."""

    def begin_as(self, prior: Any) -> None:
        """Take words and transformer from a prior over the codes of the latent that is drawn.

        Raises ConfigError where they do not fit, as for every decoder that is no transformer.
        """
        raise ConfigError(
            "this decoder has no transformer to begin with a prior's; take decoder.name = 'cells', "
            "or leave begin_as out",
            param="unclip_training.begin_as",
        )
