"""What a prior's run makes once and keeps in its folder: the tokenizer and encoded pictures.

Each file says what it was made of, and is made anew when that is something else now.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from limner.data.batches import tokens
from limner.data.batches.augment import AugmentConfig
from limner.data.batches.batches import graph_at
from limner.data.batches.encode import EncodeConfig, encode
from limner.data.batches.encoded import Encoded, read_encoded, read_manifest
from limner.data.batches.picture_store import BLOCK as SHELF
from limner.data.sources.base import BAD_SAMPLES, Source, read_json_lines
from limner.errors import DataError, quote
from limner.files.atomic import write_atomically
from limner.text.tokenizer import Tokenizer
from limner.train.config.run import TrainConfig

BLOCK = 500  # scenes encoded together
TOKENIZER_SCENES = 20_000
TOKENIZER_CAPTIONS = 4
TOKENIZER_VOCABULARY = 4096
EVERY = 20.0  # seconds between two lines of what is being made

Part = TypeVar("Part")
log = logging.getLogger(__name__)


class Caches:
    """The caches of one run; `notes` tells of each that was there and had to be made anew."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.out = Path(config.out)
        self.notes: list[str] = []

    @cached_property
    def scenes(self) -> str:
        """The hash of all that decides how a scene looks and reads."""
        return tokens.scenes_digest()

    def tokenizer(
        self, texts: Iterable[str] | None = None, made_of: tokens.Origin | None = None
    ) -> Tokenizer:
        """Return the tokenizer of the run's folder, trained on captions where it has none.

        They are those of scenes, or `texts`, which `made_of` describes.
        """
        path, beside = self.out / "tokenizer.json", self.out / "tokenizer.origin.json"
        of_scenes = {"count": TOKENIZER_SCENES, "captions": TOKENIZER_CAPTIONS}
        origin: dict[str, str | int] = {
            **({"scenes": self.scenes, **of_scenes} if made_of is None else made_of),
            "vocabulary": TOKENIZER_VOCABULARY,
        }
        if path.exists():
            # A tokenizer whose file was changed by hand is not the one that was trained.
            held = origin | {"file": hashlib.sha256(path.read_bytes()).hexdigest()}
            if not self.outdated(path, _read_origin(beside), held):
                return Tokenizer.load(path)
        tokenizer = Tokenizer.train(texts or _captions_of_scenes(), TOKENIZER_VOCABULARY)
        self.out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, tokenizer.to_json().encode())
        origin["file"] = tokenizer_digest(tokenizer)
        # What vouches for the file comes last: a run killed before makes both anew.
        write_atomically(beside, json.dumps(origin, indent=1).encode())
        return tokenizer

    def codes(
        self, name: str, split: str, count: int, codec: Any, tokenizer: Tokenizer
    ) -> tokens.CodeCache:
        """Return `count` scenes of a split as codes and captions: those of `name`, or made anew."""
        path, data, length = self.out / name, self.config.data, self.config.text_length
        codec_hash = digest_of(codec)
        origin = self.origin(tokenizer, count, codec=codec_hash, split=split, text_length=length)
        if self.holds(path, origin):
            return tokens.CodeCache.load(path)
        source = captioned_scenes(self.config, split, min(BLOCK, count), codec.config.seen)
        blocks = tokens.encode_scenes(codec, tokenizer, source, count, length, data.workers)
        cache = tokens.join(list(telling(blocks, name, -(-count // source.block))))
        cache.save(path, origin)
        return cache

    def encoded(self, name: str, place: str, source: Source | None, codec: Any) -> Encoded:
        """Return the pictures of a place as codes: those in `name`, or made anew, or the place's.

        Raises DataError when the place holds codes of another codec.
        """
        digest = digest_of(codec)
        if source is None:
            found = read_encoded(place)
            if found.manifest["codec"] != digest:
                raise DataError(
                    f"the codes in {quote(place, 120)} were made by another codec; encode the "
                    "pictures again with the codec of this run"
                )
            return found
        folder, data = self.out / name, self.config.data
        settings = EncodeConfig(data.crops, data.seed, AugmentConfig(**asdict(self.config.augment)))
        wanted = {"data": source.fingerprint, "codec": digest, **asdict(settings)}
        if folder.exists() and not self.outdated(folder, _origin_of_codes(folder), wanted):
            for row in read_json_lines(folder / BAD_SAMPLES):  # what was bad then is bad now
                source.losses.add(**row)
            return read_encoded(folder)
        for old in (folder, folder.with_name(f"{name}.partial")):  # of a run that was killed
            shutil.rmtree(old, ignore_errors=True)
        with closing(
            encode(source, codec, digest, folder, settings, workers=data.workers)
        ) as steps:
            for _ in telling(steps, name, -(-(source.total or 0) // SHELF)):
                pass
        return read_encoded(folder)

    def origin(self, tokenizer: Tokenizer, count: int, **more: str | int) -> dict[str, str | int]:
        """Return what decides what is made of the first `count` scenes, and `more`."""
        data = self.config.data
        return {
            **more,
            "tokenizer": tokenizer_digest(tokenizer),
            "scenes": self.scenes,
            "count": count,
            "level": data.level,
            "seed": data.seed,
            "captions": data.captions,
        }

    def holds(self, path: Path, origin: Mapping[str, Any]) -> bool:
        """Say whether a file is there that was made of what decides it now."""
        return path.exists() and not self.outdated(path, tokens.origin_of(path), origin)

    def outdated(self, path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Say whether what is at `path` was made of something else than is wanted; note if so."""
        changed = [key for key in wanted if found.get(key) != wanted[key]]
        if changed:
            known = f"another {', '.join(changed)}" if found else "what it does not say"
            self.notes.append(f"{path} is made anew: it was made of {known}")
        return bool(changed)


def captioned_scenes(
    config: TrainConfig, split: str, block: int, size: int, captions: int = 0
) -> tokens.ScenePictures:
    """Return scenes of a split by blocks, with `captions` each, by default as many as a run's."""
    data = config.data
    return tokens.ScenePictures(
        split, block, size=size, seed=data.seed, level=data.level,
        captions=captions or data.captions,
    )  # fmt: skip


def telling(parts: Iterable[Part], name: str, total: int) -> Iterator[Part]:
    """Pass on `total` parts, and log now and then how far the making of `name` is."""
    began = last = time.monotonic()
    for number, part in enumerate(parts, start=1):
        now = time.monotonic()
        if now - last >= EVERY and number < total:
            last = now
            minutes = (now - began) * (total - number) / number / 60
            log.info(f"making {name}: {number / total:.0%}, about {minutes:.0f} minutes left")
        yield part


def digest_of(module: nn.Module) -> str:
    """Return one hash of a module's config and weights, however they lie in memory."""
    # The config too: a stride or a number of heads leaves no trace in the weights' shapes.
    digest = hashlib.sha256(repr(getattr(module, "config", "")).encode())
    for name, tensor in sorted(module.state_dict().items()):  # the order of layers says nothing
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Return the hash of a tokenizer's file."""
    return hashlib.sha256(tokenizer.to_json().encode()).hexdigest()


def _captions_of_scenes() -> list[str]:
    sentences = []
    for index in range(TOKENIZER_SCENES):
        sentences += tokens.captions_of(graph_at("train", index), index, TOKENIZER_CAPTIONS)
    return sentences


def _origin_of_codes(folder: Path) -> dict[str, Any]:
    """Return what codes were made of; empty when they do not say it, or are damaged."""
    try:
        manifest = read_manifest(folder)
    except DataError:
        return {}
    return {**manifest, "data": manifest["source"]["fingerprint"]}


def _read_origin(path: Path) -> tokens.Origin:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
