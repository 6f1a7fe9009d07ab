"""The families of models that a folder can hold: which tables its config has, how it is built.

A family knows no file: a config and a tokenizer come in, a pipeline goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError, ConfigError, quote
from limner.types import Request, Sampling

if TYPE_CHECKING:
    from limner.gan.drawing import GanSampling
    from limner.sampling.diffusion import DiffusionSampling
    from limner.sampling.tokens import TokenSampling
    from limner.text.tokenizer import Tokenizer

_LATER_SAMPLING = {"typical_p", "speculate"}  # folders written before them do not have them

Table = dict[str, Any]


@dataclass(frozen=True)
class ModelConfig:
    """config.json: what is needed to build a model before its weights are read.

    `tables` are those of its family, which stand beside the other keys in the file.
    """

    limner_format: int
    family: str
    name: str
    licence: str
    size: int
    text_length: int
    tables: dict[str, Table] = field(default_factory=dict)

    @property
    def codec(self) -> Table:
        """`name` and the fields of the codec's config; {} where the family has none."""
        return self.tables.get("codec", {})

    @property
    def prior(self) -> Table:
        """`name` and the fields of the prior's config; {} where the family has none."""
        return self.tables.get("prior", {})

    @property
    def sampling(self) -> Table:
        """The model's own sampling values, `guidance` among them; {} where it draws nothing."""
        return self.tables.get("sampling", {})


@dataclass(frozen=True)
class Family:
    """The tables that the config of a family holds, all of them and no other, and its builder."""

    tables: tuple[str, ...]
    build: Callable[[ModelConfig, Tokenizer], Any]


def _build_dalle(config: ModelConfig, tokenizer: Tokenizer) -> Any:
    """Text to image codes by a prior, codes to pixels by a codec (DALL-E, arXiv 2102.12092)."""
    from limner.codecs import create_codec
    from limner.pipelines.dalle import Dalle
    from limner.priors import create_prior

    _check_vocabulary(config, tokenizer, config.prior.get("text_vocabulary"), "prior")
    codec, prior = create_codec(config.codec), create_prior(config.prior)
    offered = (codec.vocabulary, tuple(codec.maps), codec.groups)
    expected = (prior.config.vocabulary, tuple(prior.maps), prior.config.groups)
    if offered != expected:
        offers, expects = (
            f"{values} codes on {'a map' if len(maps) == 1 else 'maps'} of "
            f"{', '.join(f'{rows}x{columns}' for rows, columns in maps)}, {groups} a cell"
            for values, maps, groups in (offered, expected)
        )
        raise CheckpointError(
            f"the codec of {config.name!r} has {offers}, but the prior was made for {expects}; "
            "they belong to different models"
        )
    defaults = _read_sampling(config.sampling)
    return Dalle(
        tokenizer,
        prior,
        codec,
        defaults=defaults,
        size=config.size,
        text_length=config.text_length,
    )


def _build_clip(config: ModelConfig, tokenizer: Tokenizer) -> Any:
    """Pictures and texts to unit vectors that can be compared (CLIP, arXiv 2103.00020)."""
    from limner.clip.model import create_clip
    from limner.pipelines.clip import ClipPipeline

    table = config.tables["clip"]
    _check_vocabulary(config, tokenizer, table.get("text_vocabulary"), "text tower")
    clip = create_clip(table)
    if clip.size != config.size:
        raise CheckpointError(
            f"{config.name!r} has the size {config.size}, but its image tower sees pictures "
            f"{clip.size} wide"
        )
    return ClipPipeline(tokenizer, clip, text_length=config.text_length)


def _build_unclip(config: ModelConfig, tokenizer: Tokenizer) -> Any:
    """Text to the embedding of a picture, and that to pixels, by diffusion (arXiv 2204.06125)."""
    from limner.clip.model import create_clip
    from limner.codecs import create_autoencoder
    from limner.decoders import create_decoder, create_upsampler
    from limner.pipelines.unclip import UnClip
    from limner.priors import create_embedding_prior

    tables = config.tables
    clip, decoder = create_clip(tables["clip"]), create_decoder(tables["decoder"])
    prior = create_embedding_prior(tables["prior"]) if tables["prior"] else None
    upsampler = create_upsampler(tables["upsampler"]) if tables["upsampler"] else None
    autoencoder = create_autoencoder(tables["autoencoder"]) if tables["autoencoder"] else None
    parts: list[tuple[str, Any]] = [("text tower", clip), ("decoder", decoder), ("prior", prior)]
    for part, built in parts:
        if built is not None and (made_for := built.config.text_vocabulary):
            _check_vocabulary(config, tokenizer, made_for, part)
    pipeline = UnClip(
        tokenizer, clip, decoder, prior, upsampler, autoencoder,
        defaults=_read_diffusion(config.sampling), text_length=config.text_length,
    )  # fmt: skip
    _check_unclip(config, pipeline)
    return pipeline


def latent_shape(codec: Any) -> dict[str, Any]:
    """Return the settings of a decoder that draws a codec's latents: their channels, width, bounds.

    Raises ConfigError unless its vectors are continuous, or finite scalars of one map.
    """
    if codec.continuous:
        return {"channels": codec.config.channels, "size": codec.grid[-1], "bounded": False}
    if not codec.levels or len(codec.maps) > 1:
        raise ConfigError(
            "the decoder draws continuous latents or finite scalars of one map, and this codec has "
            "others; give one of the name 'kl' or 'fsq'"
        )
    channels = codec.groups * len(codec.levels)
    return {"channels": channels, "size": codec.grid[-1], "bounded": True}


def _check_unclip(config: ModelConfig, pipeline: Any) -> None:
    """Raise CheckpointError unless the parts of unCLIP fit one another."""
    dimensions = pipeline.clip.config.dimensions
    for part in ("prior", "decoder"):
        built = getattr(pipeline, part)
        if built is not None and built.config.embedding not in (0, dimensions):
            raise CheckpointError(
                f"CLIP of {config.name!r} gives vectors of {dimensions}, but the {part} was made "
                f"for {built.config.embedding}; they belong to different models"
            )
    decoder, upsampler, autoencoder = pipeline.decoder, pipeline.upsampler, pipeline.autoencoder
    draws = decoder.config
    shape: dict[str, Any] = {"channels": 3}
    if autoencoder is not None:
        shape = latent_shape(autoencoder)
    fits = all(getattr(draws, name) == value for name, value in shape.items()) and not draws.given
    if autoencoder is None and not fits:
        raise CheckpointError(f"the decoder of {config.name!r} does not draw pixels alone")
    if not fits:
        raise CheckpointError(
            f"the decoder of {config.name!r} draws {draws.channels} channels {draws.size} wide, "
            "but its autoencoder has others; they belong to different models"
        )
    if upsampler is not None and upsampler.small != pipeline.small:
        raise CheckpointError(
            f"the decoder of {config.name!r} draws {pipeline.small} pixels, but its upsampler "
            f"enlarges {upsampler.small}"
        )
    if pipeline.size != config.size:
        raise CheckpointError(
            f"{config.name!r} has the size {config.size}, but its parts draw {pipeline.size}"
        )


def _build_gan(config: ModelConfig, tokenizer: Tokenizer) -> Any:
    """Text and noise to pixels at once, learnt against a discriminator (arXiv 1605.05396)."""
    from limner.gan import create_generator
    from limner.pipelines.gan import Gan

    generator = create_generator(config.tables["generator"])
    _check_vocabulary(config, tokenizer, generator.config.text_vocabulary, "generator")
    if generator.config.size != config.size:
        raise CheckpointError(
            f"{config.name!r} has the size {config.size}, but its generator draws "
            f"{generator.config.size}"
        )
    defaults = _read_gan(config.sampling)
    return Gan(tokenizer, generator, defaults=defaults, text_length=config.text_length)


FAMILIES: dict[str, Family] = {
    "dalle": Family(("codec", "prior", "sampling"), _build_dalle),
    "clip": Family(("clip",), _build_clip),
    "unclip": Family(
        ("clip", "prior", "decoder", "autoencoder", "upsampler", "sampling"), _build_unclip
    ),
    "gan": Family(("generator", "sampling"), _build_gan),
}


def _check_vocabulary(config: ModelConfig, tokenizer: Tokenizer, made_for: Any, part: str) -> None:
    if made_for != tokenizer.vocabulary:
        raise CheckpointError(
            f"the tokenizer of {config.name!r} has {tokenizer.vocabulary} ids, but the {part} was "
            f"made for {made_for}; they belong to different models"
        )


def _read_sampling(values: Table) -> TokenSampling:
    from limner.sampling.tokens import TokenSampling

    known = [each.name for each in fields(TokenSampling)]
    if set(values) | _LATER_SAMPLING != set(known) or None in values.values():
        raise ConfigError(f"sampling has the keys {quote(sorted(values))}; expected {known}")
    Request("any", guidance=values["guidance"], sampling=_without_guidance(values))
    return TokenSampling(**values)


def _read_diffusion(values: Table) -> DiffusionSampling:
    from limner.sampling.diffusion import DiffusionSampling

    known = [each.name for each in fields(DiffusionSampling)]
    if set(values) != set(known):
        raise ConfigError(f"sampling has the keys {quote(sorted(values))}; expected {known}")
    return DiffusionSampling(**values)


def _read_gan(values: Table) -> GanSampling:
    from limner.gan.drawing import GanSampling

    known = [each.name for each in fields(GanSampling)]
    if set(values) != set(known):
        raise ConfigError(f"sampling has the keys {quote(sorted(values))}; expected {known}")
    return GanSampling(**values)


def _without_guidance(values: Mapping[str, Any]) -> Sampling:
    return Sampling(**{key: value for key, value in values.items() if key != "guidance"})
