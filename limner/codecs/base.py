"""What every codec shares: the shape of its codes, and hooks that training calls.

Shapes: B pictures, S cells of all maps together, G codes a cell.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner.nn.autoencoder import Decoder


class CodecBase(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to codes and back; a codec is this and one file.

    `maps` are rows and columns of each token map, coarse to fine; most codecs have one. Codes of
    one map are (B, h, w), of several (B, S), one map after the other; with `groups` codes a cell
    there is a last dimension G. `layout` is the shape between B and G. `likelihood` names the
    reconstruction loss that the decoder's output is made for. A `continuous` codec has a latent
    in place of codes. With `residual` maps each says what the coarser ones left, and the codec has
    `encode_after`: codes of one map of pictures, after other codes of the coarser ones.
    """

    likelihood: ClassVar[str] = "pixels"
    continuous: ClassVar[bool] = False
    residual: ClassVar[bool] = False
    config: Any
    encoder: Any  # pictures to features (B, D, h, w)
    quantizer: Any  # features to codes
    decoder: Decoder

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each token map, coarse to fine; by default one."""
        side = self.config.seen // 2 ** len(self.config.decoder_channels)
        return ((side, side),)

    @property
    def vocabulary(self) -> int:
        """How many different values one code has."""
        return int(self.quantizer.vocabulary)

    @property
    def groups(self) -> int:
        """How many codes one cell has."""
        return 1

    @property
    def levels(self) -> tuple[int, ...]:
        """How many values each digit of a code has, where codes have such; most have none."""
        return ()

    @property
    def encodes(self) -> bool:
        """Whether it takes pictures; a codec that was kept to draw alone does not."""
        return True

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finest map."""
        return self.maps[-1]

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape of one picture's codes, without groups: (h, w), or (S,) of several maps."""
        if len(self.maps) == 1:
            return self.maps[0]
        return (sum(rows * columns for rows, columns in self.maps),)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images to the decoder's output, codes and an auxiliary loss; the way of training."""
        z, codes, loss = self.quantize(self.encoder(images))
        return self.decoder(z), codes, loss

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vectors that the decoder gets for features, codes and an auxiliary loss."""
        return self.quantizer(features)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes int64 (B, *layout[, G]) of images."""
        return self.quantize(self.encoder(images))[1]

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of codes (B, *layout[, G])."""
        return self.paint(self.embed(codes))

    def decode_each(self, codes: Tensor, told: Sequence[Any] = ()) -> Tensor:
        """Return images of codes as `decode`, each with the bits that it has alone.

        `told` is what words say of each, which most decoders do not hear.
        """
        return torch.cat([self.decode(each[None]) for each in codes])

    @property
    def paints(self) -> bool:
        """Whether it has a decoder of vectors, by which `paint` goes; one may decode otherwise."""
        return "decoder" in self._modules

    @property
    def styles(self) -> tuple[str, ...]:
        """The drawing styles that it can paint things in, whatever the codes say."""
        return ()

    def paint(self, vectors: Tensor, told: Sequence[Any] = ()) -> Tensor:
        """Return images (B, 3, H, W) in [-1, 1] of the vectors (B, D, h, w) that codes stand for.

        Vectors between those of two codes give pictures between theirs; `told` as of `decode_each`.
        """
        return self.picture(self.decoder(vectors)).float().clamp(-1, 1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, h, w) on the finest map that the decoder gets for codes."""
        return self.quantizer.embed(codes)

    def picture(self, output: Tensor) -> Tensor:
        """Return the images, nominally in [-1, 1], that the decoder's output stands for."""
        return output

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return images after a way through their codes and back."""
        return self.decode(self.encode(images))

    @property
    def last_layer(self) -> Tensor:
        """The weights that make the output: where adversarial training weighs its gradients."""
        return self.decoder.out.conv.weight

    def advance(self, share: float) -> None:
        """Be as the schedules say after `share` in [0, 1] of the training; most have none."""
