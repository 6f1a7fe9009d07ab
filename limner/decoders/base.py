"""What every decoder shares: the process that it takes noise off by, and its loss."""

from typing import Any

from torch import Tensor, nn

from limner.errors import ConfigError
from limner.sampling.schedule import Process


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

    def begin_as(self, prior: Any) -> None:
        """Take words and transformer from a prior over the codes of the latent that is drawn.

        Raises ConfigError where they do not fit, as for every decoder that is no transformer.
        """
        raise ConfigError(
            "this decoder has no transformer to begin with a prior's; take decoder.name = 'cells', "
            "or leave begin_as out",
            param="unclip_training.begin_as",
        )
