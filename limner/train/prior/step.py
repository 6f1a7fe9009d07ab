"""The prior's training step: codes of pictures, their captions, random order annealed."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner import registry
from limner.checkpoint.model import save_checkpoint
from limner.data.batches.tokens import Codes
from limner.errors import ConfigError
from limner.nn.ranks import world
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches, digest_of, tokenizer_digest
from limner.train.inputs.codes import codes_of
from limner.train.inputs.own import OwnData, open_data
from limner.train.inputs.text import text_side_of
from limner.train.parts import inspect_family, load_codec
from limner.train.prior.card import card_of
from limner.train.prior.memorised import MemorisationCheck
from limner.train.ranks.group import rank0_first
from limner.train.ranks.parallel import parallelize
from limner.train.update import (
    compiled,
    device_of,
    optimizers_for,
    parts_of,
    precision,
    save_memory,
    scaler_of,
    update,
)


class PriorStep:
    """Next-code prediction with dropped captions (classifier-free guidance, arXiv 2207.12598).

    With `start_from`, a model folder, the prior goes on from its weights, codec, tokenizer and text
    encoder; with `codec_from` too, over that codec in place of its own. An encoder that is not
    `trainable` stays as it was read.
    For the first `random_order_until` of the run the order of codes is random for a share of
    pictures that falls from one to zero (RAR, arXiv 2411.00776); after that it is raster.
    """

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        self.config = config
        caches = Caches(config)
        trained: Dalle | None = None
        if config.start_from:
            found = inspect_family(config.start_from, "dalle", "start_from")
            trained = registry.load(config.start_from)
            self.codec, self.codec_config = trained.codec, dict(found.codec)
        if config.codec_from:
            self.codec, self.codec_config = load_codec(config.codec_from)
        self.device = device_of(config)
        self.codec = self.codec.to(self.device, memory_format=torch.channels_last)
        self.own = data or open_data(config)
        with rank0_first():
            self.codes = codes_of(config, caches, self.own, self.codec)
            text = text_side_of(config, self.codes, trained)
            self.tokenizer = text.tokenizer
            self.codes.read(self.codec, self.tokenizer)
        self.words = self.codes.words()
        if trained is not None and trained.words is not None and self.own is not None:
            self.words = self.words.with_older(trained.words)
        self.notes = caches.notes
        self.made_of = {
            **self.codes.made_of,
            "codec": digest_of(self.codec),
            "tokenizer": tokenizer_digest(self.tokenizer),
        }
        self.prior_config = {
            **config.prior,
            "text_vocabulary": self.tokenizer.vocabulary,
            "vocabulary": self.codec.vocabulary,
            "grid": list(self.codec.grid),
            "groups": self.codec.groups,
            "levels": list(self.codec.levels),
            "maps": [list(each) for each in self.codec.maps],
        }
        if text.encoder:
            self.prior_config["text_encoder"] = text.encoder
        self.prior = create_prior(self.prior_config)
        text.give_weights(self.prior)
        _check_order(self.prior, config)
        if trained is not None:
            _take_weights(self.prior, trained.prior, config.start_from)
        self.prior = self.prior.to(self.device)
        save_memory(self.prior, config)
        self.parallel = parallelize(self.prior, compiled(self.prior.loss, config), config)
        self.modules: dict[str, nn.Module] = {"prior": self.prior}
        self.averages = {"prior": self.parallel.ema(config.loop.average)}
        self.optimizers = optimizers_for(self.prior, config)
        self.scaler = scaler_of(config)
        self.judged = ("validation", -1)
        self.batches: Iterator[tuple[Tensor, Tensor]] = iter(())

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.codes.batches(step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the prior once."""
        text, codes = next(self.batches)
        generator = torch.Generator().manual_seed(self.config.loop.seed * 1_000_003 + step)
        dropped = (
            torch.rand(len(text), generator=generator) < self.config.prior_training.caption_dropout
        )
        text = text.masked_fill(dropped[:, None], 0).to(self.device)
        codes = codes.to(self.device)
        view = self.prior.sample_order(codes, generator, self._random_order(step))
        mine = world().of(len(text))
        seen = None if view is None else view[mine]
        losses = self._losses(text[mine], codes[mine], seen)
        numbers = update(losses, self.optimizers, self.prior, step, self.config, self.scaler)
        self.averages["prior"].update(step)
        return numbers

    def _losses(self, text: Tensor, codes: Tensor, view: Tensor | None) -> Iterator[Tensor]:
        """Yield the loss of each part of a batch, weighted by its share."""
        for rows, share in parts_of(len(text), self.config):
            with precision(self.config):
                seen = None if view is None else view[rows]
                yield self.parallel.run(text[rows], codes[rows], seen) * share

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the mean nats a code on held-out pictures by kind, and without captions."""
        found = {name: self._loss(codes) for name, codes in self.codes.validation.items()}
        return found | {"uncaptioned": self._loss(self.codes.validation["validation"], False)}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return pictures of 32 prompts, or fewer: captions of held-out pictures among them."""
        prompts = self.codes.prompts()
        return self._pipeline().draw_many(prompts, range(len(prompts)))

    @torch.no_grad()
    def repeated(self, samples: Tensor) -> list[str]:
        """Return what to tell of samples that repeat training pictures; of scenes nothing."""
        return [] if self.own is None else self._memory.repeated(samples)

    @cached_property
    def _memory(self) -> MemorisationCheck:
        return MemorisationCheck(self.codec, self.codes.train)

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model: tokenizer, codec and averaged prior."""
        save_checkpoint(
            out / "model",
            self._pipeline(),
            name=out.name,
            licence=self.config.model_licence,
            codec=self.codec_config,
            prior=self.prior_config,
            card="" if self.own is None else card_of(self.config, self.own),
        )

    def _pipeline(self) -> Dalle:
        sampling = TokenSampling(**self.config.sampling)
        size, length = self.codec.config.size, self.config.text_length
        pipeline = Dalle(
            self.tokenizer,
            self.parallel.eval_module,
            self.codec,
            defaults=sampling,
            size=size,
            text_length=length,
        )
        pipeline.words = self.words
        return pipeline

    def _random_order(self, step: int) -> float:
        until = self.config.prior_training.random_order_until * self.config.loop.steps
        return 1 - step / until if step < until else 0.0

    def _loss(self, cache: Codes, captioned: bool = True) -> float:
        total = 0.0
        for first in range(0, len(cache), 64):
            rows = torch.arange(first, min(first + 64, len(cache)))
            text, held = cache.read(rows)
            text = text.long()
            text = text[:, -max(1, int((text != 0).sum(1).max())) :]
            with precision(self.config):
                codes = held.long().to(self.device)
                loss = self.parallel.eval_module.loss((text * captioned).to(self.device), codes)
            total += float(loss) * len(text)
        return total / len(cache)


def _take_weights(prior: nn.Module, trained: nn.Module, source: str) -> None:
    try:
        prior.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"the prior in {source} is not the one that [prior] describes "
            f"({str(error).splitlines()[-1].strip()}); give the sizes it was trained with"
        ) from error


def _check_order(prior: Any, config: TrainConfig) -> None:
    until = config.prior_training.random_order_until
    if until and not prior.any_order:
        over = "one map" if len(prior.maps) == 1 else f"{len(prior.maps)} maps"
        raise ConfigError(
            f"prior_training.random_order_until is {until:g}, but {config.prior['name']!r} over "
            f"{over} has one order; leave it out, or train gpt over a codec of one map",
            param="prior_training.random_order_until",
        )
