"""The prior's training step: codes of pictures, their captions, random order annealed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner import registry
from limner.codecs import create_codec
from limner.codecs.base import CodecBase
from limner.data.batches.tokens import Codes
from limner.errors import ConfigError
from limner.nn.ranks import world
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.priors.base import PriorBase
from limner.sampling.tokens import TokenSampling
from limner.train.config.run import TrainConfig
from limner.train.inputs.caches import Caches, digest_of, tokenizer_digest
from limner.train.inputs.codes import codes_of, mean_nll
from limner.train.inputs.memorisation import MemorisationCheck
from limner.train.inputs.own import OwnData, open_data
from limner.train.inputs.text import text_side_of, trimmed
from limner.train.parts import begun, fits, inspect_family, load_codec
from limner.train.prior.card import card_of
from limner.train.prior.settings import PriorTraining
from limner.train.ranks.group import rank0_first
from limner.train.steps import Step, compiled, precision


class PriorStep(Step):
    """Next-code prediction with dropped captions (classifier-free guidance, arXiv 2207.12598).

    With `start_from`, a model folder, the prior goes on from its weights, codec, tokenizer and text
    encoder; with `codec_from` too, over that codec in place of its own. A prior of another kind
    takes the weights that have the same names and shapes, and is new besides. An encoder that is
    not `trainable` stays as it was read. `[codec]` changes settings of `codec_from` that its
    weights do not hang on, as a pyramid's scales.
    For the first `random_order_until` of the run the order of codes is random for a share of
    pictures that falls from one to zero (RAR, arXiv 2411.00776); after that it is raster.
    """

    def __init__(self, config: TrainConfig, data: OwnData | None = None) -> None:
        super().__init__(config)
        caches = Caches(config)
        self.training = config.settings(PriorTraining)
        # 1. The codec whose codes are learnt: that of `codec_from`, or of the model gone on with.
        trained: Dalle | None = None
        if config.start_from:
            found = inspect_family(config.start_from, "dalle", "start_from")
            trained = registry.load(config.start_from)
            self.codec, self.codec_config = trained.codec, dict(found.codec)
        if config.codec_from:
            self.codec, self.codec_config = load_codec(config.codec_from)
        if config.part("codec"):
            self.codec, self.codec_config = _changed(self.codec, self.codec_config, config)
        self.codec = self.codec.to(self.device, memory_format=torch.channels_last)
        # 2. Codes, captions and the tokenizer; rank 0 makes the files that the others find.
        self.own = data or open_data(config)
        with rank0_first():
            self.codes = codes_of(config, caches, self.own, self.codec)
            text = text_side_of(config, self.codes.tokenizer, config.part("prior"), trained)
            self.tokenizer = (
                text.tokenizer if trained is None else self.codes.extended(text.tokenizer)
            )
            self.codes.read(self.codec, self.tokenizer)
        self.memory = MemorisationCheck(self.codec, self.codes.train)
        self.words = self.codes.words()
        if trained is not None and trained.words is not None and self.own is not None:
            self.words = self.words.with_older(trained.words)  # it still knows what it drew before
        self.notes = caches.notes
        self.made_of = {
            **self.codes.made_of,
            "codec": digest_of(self.codec),
            "tokenizer": tokenizer_digest(self.tokenizer),
        }
        # 3. The prior over those codes, new or with the weights that it had.
        self.prior_config = over_codes(config, self.codec, self.tokenizer.vocabulary)
        if text.encoder:
            self.prior_config["text_encoder"] = text.encoder
        prior = create_prior(self.prior_config)
        text.give_weights(prior)
        self._check_order(prior)
        if trained is not None:
            _take_weights(prior, trained.prior, config)
        self.prior = prior.to(self.device)
        self.learn("prior", self.prior, compiled(self.prior.loss, config))

    def start(self, step: int) -> None:
        """Be ready to go on from `step`."""
        self.batches = self.codes.batches(step)

    def __call__(self, step: int) -> dict[str, float]:
        """Update the prior once."""
        text, codes = next(self.batches)
        generator = self.random(step)
        dropped = torch.rand(len(text), generator=generator) < self.training.caption_dropout
        text = text.masked_fill(dropped[:, None], 0).to(self.device)  # all zeros: no caption
        codes = codes.to(self.device)
        # Chance is drawn for the whole batch, so that any number of ranks trains the same run.
        order = self.prior.sample_order(codes, generator, self._random_order(step))
        mine = world().of(len(text))
        losses = self._losses(text[mine], codes[mine], None if order is None else order[mine])
        return self.update(losses, step)

    def _losses(self, text: Tensor, codes: Tensor, order: Tensor | None) -> Iterator[Tensor]:
        # Texts of a part are about as long, and none is padded beyond the longest of them.
        by_length = (text != 0).sum(1).argsort(stable=True)
        for part, share in self.parts(len(text)):
            rows = by_length[part]
            seen = None if order is None else order[rows]
            yield self.parallel.run(trimmed(text[rows]), codes[rows], seen) * share

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

    def repeated(self, samples: Tensor) -> list[str]:
        """Return what to tell of samples that repeat training pictures; of scenes nothing."""
        return [] if self.own is None else self.memory.repeated(samples)

    def export(self, out: Path) -> None:
        """Write the model folder `out`/model: tokenizer, codec and averaged prior."""
        self.save_model(
            out,
            self._pipeline(),
            codec=self.codec_config,
            prior=self.prior_config,
            weights=self.training.weights,
            card="" if self.own is None else card_of(self.config, self.own),
        )

    def _pipeline(self) -> Dalle:
        sampling = TokenSampling(**self.config.sampling)
        pipeline = Dalle(
            self.tokenizer,
            self.parallel.eval_module,
            self.codec,
            defaults=sampling,
            size=self.codec.config.size,
            text_length=self.config.text_length,
        )
        pipeline.words = self.words
        return pipeline

    def _random_order(self, step: int) -> float:
        until = self.training.random_order_until * self.config.loop.steps
        return 1 - step / until if step < until else 0.0  # down to raster, in which it draws

    def _check_order(self, prior: Any) -> None:
        until = self.training.random_order_until
        if until and not prior.any_order:
            over = "one map" if len(prior.maps) == 1 else f"{len(prior.maps)} maps"
            raise ConfigError(
                f"prior_training.random_order_until is {until:g}, but "
                f"{self.prior_config['name']!r} over {over} has one order; leave it out, or train "
                "gpt over a codec of one map",
                param="prior_training.random_order_until",
            )

    def _loss(self, cache: Codes, captioned: bool = True) -> float:
        with precision(self.config):
            return mean_nll(self.parallel.eval_module, cache, self.device, captioned)


def _changed(
    codec: CodecBase, held: Mapping[str, Any], config: TrainConfig
) -> tuple[CodecBase, dict[str, Any]]:
    """Return a codec with the weights of another and settings that [codec] changes."""
    wanted = {**held, **config.part("codec")}
    changed = create_codec(wanted)
    try:
        changed.load_state_dict(codec.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ConfigError(
            f"codec_from does not fit the settings of [codec] ({reason}); change none that its "
            "weights hang on",
            param="codec",
        ) from error
    return changed.requires_grad_(False).eval(), wanted


def _take_weights(prior: PriorBase, trained: Any, config: TrainConfig) -> None:
    source = config.start_from
    own, given, words = prior.state_dict(), trained.state_dict(), "text.weight"
    if words in own and words in given and fits(own[words], given[words]):
        given[words] = begun(own[words], given[words])  # new words follow the old ones
        own[words].copy_(given[words])
    if type(prior) is not type(trained) or prior.maps != trained.maps:
        prior.begin_as(trained)
        return
    try:
        prior.load_state_dict(given)
    except RuntimeError as error:
        raise ConfigError(
            f"the prior in {source} is not the one that [prior] describes "
            f"({str(error).splitlines()[-1].strip()}); give the sizes it was trained with"
        ) from error


def over_codes(config: TrainConfig, codec: Any, text_vocabulary: int) -> dict[str, Any]:
    """Return the values that describe a prior: those of a run, and what its codec decides."""
    return {
        **config.part("prior"),
        "text_vocabulary": text_vocabulary,
        "vocabulary": codec.vocabulary,
        "grid": list(codec.grid),
        "groups": codec.groups,
        "levels": list(codec.levels),
        "maps": [list(each) for each in codec.maps],
    }
