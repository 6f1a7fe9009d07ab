"""Adapters: small safetensors files that change a model, merged into its weights before it draws.

A file belongs to one model, whose hash it states, and holds `LAYER.up` and `LAYER.down` for each
layer that it changes (`limner.nn.lora`). It does not know how well it draws.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError, UsageError, quote
from limner.files.atomic import write_atomically
from limner.files.safetensors import read_header, read_tensors, strict_json

if TYPE_CHECKING:
    from torch import Tensor

    from limner.pipelines.base import PipelineBase

FORMAT = 1
METADATA = "limner_adapter"
SUFFIX = ".safetensors"
WEIGHT_LIMIT = 10.0
_EXPECTED = "expected FILE or FILE:WEIGHT, as dog.safetensors:0.8"


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter's file states: the model it was made for, rank, alpha, and the `word`.

    `base` is the SHA-256 of the model's weights; `word` is what captions call the new thing, "" for
    none.
    """

    base: str
    base_name: str
    rank: int
    alpha: float
    word: str = ""


@dataclass(frozen=True)
class Adapter:
    """An adapter that was read: what it states, its tensors, and the hash of its tensors."""

    info: AdapterInfo
    tensors: Mapping[str, Tensor]
    sha256: str


@dataclass(frozen=True)
class Choice:
    """A file and the weight that its change gets; 0 is none of it, 1 all of it."""

    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, given: str | os.PathLike[str] | tuple[str | os.PathLike[str], float]) -> Choice:
        """Read `FILE`, `FILE:WEIGHT` or a pair of them; the file's .safetensors may be left out.

        Raises UsageError for a weight that is no number from -10 to 10, and when there is no file.
        """
        if isinstance(given, tuple):
            return cls(_find(os.fspath(given[0])), _weight(given[1]))
        if not isinstance(given, str | os.PathLike):
            raise UsageError(f"an adapter is {quote(given)}; {_EXPECTED}", param="adapter")
        text = os.fspath(given)
        # A file may have a colon in its name, so a path that is there is taken as it is.
        if os.path.exists(text) or ":" not in text:
            return cls(_find(text))
        name, _, weight = text.rpartition(":")
        return cls(_find(name), _weight(weight))


def save_adapter(path: str | Path, tensors: Mapping[str, Tensor], info: AdapterInfo) -> None:
    """Write an adapter whole or not at all; ResourceError when the disk refuses."""
    from safetensors.torch import save

    kept = {name: tensor.cpu().float().contiguous().clone() for name, tensor in tensors.items()}
    stated = {"limner_format": FORMAT, **asdict(info), "sha256": _digest(kept)}
    # One key: the library writes several in an order that is another in each process.
    write_atomically(path, save(kept, {METADATA: json.dumps(stated, ensure_ascii=False)}))


def read_adapter(path: str | Path) -> Adapter:
    """Return an adapter; CheckpointError when it is none, cut, changed, or not finite."""
    import torch

    source = quote(str(path), 200)
    try:
        with open(path, "rb") as file:
            read_header(file, source)
            tensors, metadata = read_tensors(file, source)
    except OSError as error:
        raise CheckpointError(
            f"{source} cannot be read: {error.strerror or error}; get it anew"
        ) from error
    if METADATA not in metadata:
        raise CheckpointError(f"{source} is no adapter; make one with limner adapt")
    stated = strict_json(metadata[METADATA].encode("utf-8", "surrogatepass"), source)
    info = _info(stated, source)
    digest = _digest(tensors)
    if stated.get("sha256") != digest:
        raise CheckpointError(
            f"{source} is damaged: its numbers are not those that were written; get it anew, or "
            "make it again with limner adapt"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError(f"{source} holds NaN or infinity; make it again with limner adapt")
    return Adapter(info, tensors, digest)


def merge_adapters(pipeline: PipelineBase, choices: Iterable[Choice]) -> None:
    """Add adapters to a pipeline's weights in place; `pipeline.adapters` says which, and how much.

    Weight 0 changes not a bit. Raises CheckpointError for an adapter of another model, or one whose
    tensors fit none of its layers; then nothing has changed.
    """
    import torch

    from limner.nn.lora import Change, merged

    # Nothing is changed before every file has been read and fits: all adapters or none.
    changes: dict[str, list[Change]] = {}
    told, words = [], []
    for choice in choices:
        adapter = read_adapter(choice.path)
        _check_base(adapter, pipeline, choice.path)
        layers = _layers_of(adapter, pipeline, choice.path)
        if not choice.weight:
            continue
        # alpha / rank, as LoRA has it (Hu 2021, arXiv 2106.09685, section 4.1).
        scale = choice.weight * adapter.info.alpha / adapter.info.rank
        for name in layers:
            up, down = adapter.tensors[f"{name}.up"], adapter.tensors[f"{name}.down"]
            changes.setdefault(name, []).append((up, down, scale))
        words.append(adapter.info.word)
        told.append({"name": choice.path.stem, "sha256": adapter.sha256, "weight": choice.weight})
    # Merged once, so that drawing with an adapter takes no longer than without.
    with torch.no_grad():
        for name, each in changes.items():
            weight = pipeline.get_parameter(f"{name}.weight")
            weight.copy_(merged(weight, [(u.to(weight), d.to(weight), s) for u, d, s in each]))
    if pipeline.words is not None:
        pipeline.words = pipeline.words.with_taught(words)
    pipeline.adapters = [*pipeline.adapters, *told]


def _find(name: str) -> Path:
    if "\0" not in name:
        for path in (Path(name), Path(f"{name}{SUFFIX}")):
            if name and path.is_file():
                return path
    raise UsageError(f"there is no adapter {quote(name, 200)}; {_EXPECTED}", param="adapter")


def _weight(given: object) -> float:
    try:
        weight = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(
            f"the adapter's weight {quote(given)} is not a number; {_EXPECTED}", param="adapter"
        ) from None
    if not (math.isfinite(weight) and abs(weight) <= WEIGHT_LIMIT):
        raise UsageError(
            f"the adapter's weight is {quote(given)}; expected a number from {-WEIGHT_LIMIT:g} to "
            f"{WEIGHT_LIMIT:g}, as dog.safetensors:0.8",
            param="adapter",
        )
    return weight


def _info(stated: Any, source: str) -> AdapterInfo:
    """Return what a file's metadata says; CheckpointError when it is of no format known here."""
    wanted = {"limner_format": int, "sha256": str, "rank": int, "alpha": float}
    wanted |= {"base": str, "base_name": str, "word": str}
    fits = isinstance(stated, dict) and all(
        isinstance(stated.get(key), kind) for key, kind in wanted.items()
    )
    if fits and stated["limner_format"] > FORMAT:
        raise CheckpointError(
            f"{source} was made by a newer limner ({stated['limner_format']} > {FORMAT}); upgrade "
            "limner to read it"
        )
    if not fits or stated["limner_format"] < 1 or stated["rank"] < 1:
        raise CheckpointError(
            f"{source} is damaged: what it states of itself is not what limner adapt writes; make "
            "it again"
        )
    return AdapterInfo(**{item.name: stated[item.name] for item in fields(AdapterInfo)})


def _check_base(adapter: Adapter, pipeline: PipelineBase, path: Path) -> None:
    held = pipeline.info.sha256
    if adapter.info.base != held:
        raise CheckpointError(
            f"{quote(str(path), 120)} was made for the model {quote(adapter.info.base_name)} "
            f"({adapter.info.base[:12]}), and this one is {held[:12] or 'unsaved'}; draw with that "
            "model, or adapt this one"
        )


def _layers_of(adapter: Adapter, pipeline: PipelineBase, path: Path) -> list[str]:
    """Return the layers that an adapter changes; CheckpointError unless each fits."""
    names = sorted({name.rpartition(".")[0] for name in adapter.tensors})
    if set(adapter.tensors) != {f"{name}.{part}" for name in names for part in ("up", "down")}:
        raise CheckpointError(f"{quote(str(path), 120)} does not hold an up and a down of a layer")
    rank = adapter.info.rank
    for name in names:
        try:
            outputs, inputs = pipeline.get_parameter(f"{name}.weight").flatten(1).shape
        except (AttributeError, IndexError, ValueError):
            raise CheckpointError(
                f"{quote(str(path), 120)} changes {quote(name)}, which is no layer of this model"
            ) from None
        found = [tuple(adapter.tensors[f"{name}.{part}"].shape) for part in ("up", "down")]
        if found != [(outputs, rank), (rank, inputs)]:
            raise CheckpointError(
                f"{quote(str(path), 120)} has {name} as {found}; expected "
                f"{[(outputs, rank), (rank, inputs)]}"
            )
    return names


def _digest(tensors: Mapping[str, Tensor]) -> str:
    # Of the numbers, not of the file: its metadata may be written in another order.
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
