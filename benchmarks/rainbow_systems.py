"""The two systems of the rainbow-shapes benchmark: limner, and DALLE-pytorch with its own parts.

Shapes: B pictures, S cells of the grid. Pixels are uint8 (B, 32, 32, 3); every system learns from
trained pictures and captions alone, within a budget of processor time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from shapes import SIZE, VOCABULARY, Pixels
from torch import Tensor, nn
from torch.nn import functional as F

from limner.codecs import create_codec
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.text.tokenizer import Tokenizer
from limner.train.optimizer import EMA, create_optimizers, schedule

WORDS = 7  # of the longest caption
CORES = 2


class Clock:
    """Seconds of two cores since it was made: half the processor time of this process.

    Other work on the machine takes nothing from it, as it would from the time on the wall, and the
    number of threads does not matter.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.began = time.process_time()

    @property
    def share(self) -> float:
        """The share of the budget that is spent; 1 and more is the end."""
        return (time.process_time() - self.began) / CORES / self.budget


class System(Protocol):
    """What the benchmark needs of a system."""

    parameters: int
    steps: tuple[int, int]

    def train(self, pictures: Pixels, captions: Sequence[str], budget: float) -> None:
        """Learn within `budget` seconds."""
        ...

    def encode(self, pictures: Pixels) -> Tensor:
        """Return the codes (B, ...) of pictures."""
        ...

    def decode(self, codes: Tensor) -> Pixels:
        """Return the pictures of codes."""
        ...

    def draw(self, captions: Sequence[str]) -> Tensor:
        """Return the likeliest codes of captions, chosen one after the other."""
        ...


@dataclass(frozen=True)
class LimnerSizes:
    """Sizes and training of limner's two stages; `codec_share` of the budget is the codec's."""

    levels: tuple[int, ...] = (8, 8, 8)
    groups: int = 2
    encoder_channels: tuple[int, ...] = (8, 32, 64)
    decoder_channels: tuple[int, ...] = (96, 48, 16)
    decoder_blocks: tuple[int, ...] = (1, 0, 0)
    width: int = 128
    layers: int = 3
    heads: int = 4
    hidden: int = 352
    codec_share: float = 0.5
    codec_batch: int = 16
    codec_rate: float = 3e-3
    prior_batch: int = 32
    prior_rate: float = 3e-3
    weight_decay: float = 0.1
    random_order_until: float = 0.5


class Limner:
    """A codec of finite scalar quantisation and a GPT prior, at most 10 M parameters together."""

    def __init__(self, seed: int, sizes: LimnerSizes | None = None) -> None:
        torch.manual_seed(seed)
        self.sizes = sizes or LimnerSizes()
        self.generator = torch.Generator().manual_seed(seed)
        self.codec = create_codec(
            {
                "name": "fsq",
                "size": SIZE,
                "levels": self.sizes.levels,
                "groups": self.sizes.groups,
                "encoder_channels": self.sizes.encoder_channels,
                "decoder_channels": self.sizes.decoder_channels,
                "encoder_blocks": (0, 0, 0),
                "decoder_blocks": self.sizes.decoder_blocks,
            }
        ).to(memory_format=torch.channels_last)
        self.steps = (0, 0)
        self.parameters = 0

    def train(self, pictures: Pixels, captions: Sequence[str], budget: float) -> None:
        """Learn the codec, then the prior on its codes."""
        share = self.sizes.codec_share
        images = to_images(pictures)
        codec_steps = self._train_codec(images, Clock(budget * share))
        clock = Clock(budget * (1 - share))
        self.tokenizer = Tokenizer.train(captions, vocabulary=512)
        self.prior = create_prior(
            {
                "name": "gpt",
                "text_vocabulary": self.tokenizer.vocabulary,
                "vocabulary": self.codec.vocabulary,
                "grid": self.codec.grid,
                "groups": self.codec.groups,
                "levels": self.sizes.levels,
                "width": self.sizes.width,
                "layers": self.sizes.layers,
                "heads": self.sizes.heads,
                "hidden": self.sizes.hidden,
            }
        )
        text = self.tokenizer.batch(captions, WORDS)
        prior_steps = self._train_prior(text, self.encode(pictures), clock)
        self.steps = (codec_steps, prior_steps)
        self.parameters = count(self.codec) + count(self.prior)

    def _train_codec(self, images: Tensor, clock: Clock) -> int:
        optimizers = create_optimizers(self.codec, "adamw", self.sizes.codec_rate, 0.01)

        def loss() -> Tensor:
            batch = images[self._rows(len(images), self.sizes.codec_batch)]
            output, _, auxiliary = self.codec(batch)
            value: Tensor = F.mse_loss(output, batch) + auxiliary
            return value

        return self._fit(self.codec, loss, optimizers, self.sizes.codec_rate, clock)

    def _train_prior(self, text: Tensor, codes: Tensor, clock: Clock) -> int:
        sizes = self.sizes
        optimizers = create_optimizers(self.prior, "muon", sizes.prior_rate, sizes.weight_decay)

        def loss() -> Tensor:
            rows = self._rows(len(text), sizes.prior_batch)
            # Other orders than raster are examples that the split does not have (RAR,
            # arXiv 2411.00776); they end half-way, because drawing is in raster order.
            random = max(0.0, 1 - clock.share / sizes.random_order_until)
            order = self.prior.sample_order(codes[rows], self.generator, random)
            value: Tensor = self.prior.loss(text[rows], codes[rows], order)
            return value

        return self._fit(self.prior, loss, optimizers, sizes.prior_rate, clock)

    @staticmethod
    def _fit(
        module: nn.Module,
        loss: Callable[[], Tensor],
        optimizers: list[torch.optim.Optimizer],
        rate: float,
        clock: Clock,
    ) -> int:
        average = EMA(module.parameters(), 0.99)
        step = 0
        while clock.share < 1:
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate * schedule(int(clock.share * 1000), 1000, 20, 0.5)
                optimizer.step()
            average.update(step)
            step += 1
        with torch.no_grad():
            for parameter, value in zip(average.parameters, average.values, strict=True):
                parameter.copy_(value)
        module.eval().requires_grad_(False)
        return step

    def _rows(self, rows: int, batch: int) -> Tensor:
        return torch.randint(rows, (batch,), generator=self.generator)

    @torch.no_grad()
    def encode(self, pictures: Pixels) -> Tensor:
        """Return codes (B, 4, 4, G)."""
        return torch.cat([self.codec.encode(part) for part in to_images(pictures).split(256)])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Pixels:
        """Return the pictures of codes."""
        return to_pixels(torch.cat([self.codec.decode(part) for part in codes.split(256)]))

    @torch.no_grad()
    def draw(self, captions: Sequence[str]) -> Tensor:
        """Return codes (B, 4, 4, G), the likeliest one after the other."""
        drawn = []
        for text in self.tokenizer.batch(captions, WORDS).split(self.prior.batch_rows):
            *_, codes = self.prior.stream(text, TokenSampling(top_k=1), [0] * len(text))
            drawn.append(codes)
        grid: Tensor = torch.cat(drawn).unflatten(1, self.codec.grid)
        return grid


@dataclass(frozen=True)
class PeerSizes:
    """Sizes of DALLE-pytorch's prior and batches; everything else is as in its notebook."""

    dim: int = 1024
    depth: int = 12
    heads: int = 16
    batch: int = 256
    codec_batch: int = 128
    codec_share: float = 0.4


# As wide as limner's, and with limner's batches: the notebook's leave few steps in the budget.
SMALL_PEER = PeerSizes(dim=128, depth=4, heads=4, batch=32, codec_batch=16, codec_share=0.5)


class DallePytorch:
    """DALLE-pytorch's DiscreteVAE and DALLE with the settings of its notebook.

    Adam at 1e-3, falling as the notebook's schedules fall over their whole length, here over the
    budget; no clipping, no weight decay. Only the prior's size, the batches and the codec's share
    may differ.
    """

    def __init__(self, seed: int, sizes: PeerSizes | None = None) -> None:
        from dalle_pytorch import DALLE, DiscreteVAE

        torch.manual_seed(seed)
        self.sizes = sizes or PeerSizes()
        self.codec = DiscreteVAE(
            image_size=SIZE,
            num_layers=3,
            num_tokens=256,
            codebook_dim=512,
            hidden_dim=64,
            num_resnet_blocks=2,
            temperature=0.9,
            straight_through=False,
        )
        self.prior = DALLE(
            dim=self.sizes.dim,
            depth=self.sizes.depth,
            heads=self.sizes.heads,
            dim_head=self.sizes.dim // self.sizes.heads,
            vae=self.codec,
            num_text_tokens=len(VOCABULARY) + 1,
            text_seq_len=WORDS,
            attn_dropout=0.1,
            ff_dropout=0.1,
        )
        self.codec.requires_grad_(True)
        self.parameters = count(self.prior)
        self.steps = (0, 0)

    def train(self, pictures: Pixels, captions: Sequence[str], budget: float) -> None:
        """Learn the DiscreteVAE, then the DALLE on its codes."""
        share = self.sizes.codec_share
        images = to_images(pictures) / 2 + 0.5
        clock = Clock(budget * share)

        def codec_loss() -> Tensor:
            rows = torch.randint(len(images), (self.sizes.codec_batch,))
            value: Tensor = self.codec(images[rows], return_loss=True)
            return value

        codec_steps = self._fit(self.codec, codec_loss, 0.99**500, clock)
        clock = Clock(budget * (1 - share))
        text, codes = self.words(captions), self.encode(pictures)

        def prior_loss() -> Tensor:
            rows = torch.randint(len(text), (self.sizes.batch,))
            value: Tensor = self.prior(text[rows], codes[rows], return_loss=True)
            return value

        self.codec.requires_grad_(False)
        self.steps = (codec_steps, self._fit(self.prior, prior_loss, 0.98**200, clock))

    @staticmethod
    def _fit(module: nn.Module, loss: Callable[[], Tensor], fall: float, clock: Clock) -> int:
        module.train()
        trained = [each for each in module.parameters() if each.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-3)
        step = 0
        while clock.share < 1:
            optimizer.param_groups[0]["lr"] = 1e-3 * fall**clock.share
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            step += 1
        module.eval()
        return step

    @staticmethod
    def words(captions: Sequence[str]) -> Tensor:
        """Return the ids (B, T) of captions; 0 is none."""
        text = torch.zeros(len(captions), WORDS, dtype=torch.int64)
        for row, caption in enumerate(captions):
            for column, word in enumerate(caption.split()):
                text[row, column] = VOCABULARY.index(word) + 1
        return text

    @torch.no_grad()
    def encode(self, pictures: Pixels) -> Tensor:
        """Return codes (B, 16)."""
        images = to_images(pictures) / 2 + 0.5
        return torch.cat([self.codec.get_codebook_indices(part) for part in images.split(256)])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Pixels:
        """Return the pictures of codes; the decoder's output is normalised to [-1, 1]."""
        return to_pixels(torch.cat([self.codec.decode(part) for part in codes.split(256)]))

    @torch.no_grad()
    def draw(self, captions: Sequence[str]) -> Tensor:
        """Return codes (B, 16), the likeliest one after the other, as the notebook draws."""
        drawn = []
        for text in self.words(captions).split(256):
            codes = text[:, :0]
            for _ in range(16):
                logits = self.prior(text, codes)[:, -1, -256:]
                codes = torch.cat([codes, logits.argmax(-1, keepdim=True)], dim=1)
            drawn.append(codes)
        return torch.cat(drawn)


def create_system(name: str, seed: int) -> System:
    """Return an untrained system; SystemExit for a name that SYSTEMS does not have."""
    if name == "limner":
        return Limner(seed)
    if name == "dalle-pytorch":
        return DallePytorch(seed)
    if name == "dalle-pytorch-small":
        return DallePytorch(seed, SMALL_PEER)
    raise SystemExit(f"unknown system {name!r}; give some of {', '.join(SYSTEMS)}")


SYSTEMS = ("limner", "dalle-pytorch-small", "dalle-pytorch")


def count(module: nn.Module) -> int:
    """Return the number of a module's parameters."""
    return sum(each.numel() for each in module.parameters())


def to_images(pictures: Pixels) -> Tensor:
    """Return pixels as images (B, 3, 32, 32) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> Pixels:
    """Return images in [-1, 1] as pixels."""
    scaled = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    pixels: Pixels = scaled.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels
