"""A model folder and the pipeline in it: config.json, model.safetensors, tokenizer.json, manifest.

`limner.pipelines.families` names every family that a folder can hold. A folder is read strictly:
what it holds is what its config describes, byte for byte as its manifest states, or it is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from limner.checkpoint.blocks import INT8, PACKED, store, unpack, whole_entries
from limner.checkpoint.shared import Shared, all_tensors, settle
from limner.errors import CheckpointError, LimnerError, UsageError, did_you_mean, quote
from limner.files.atomic import replace_files
from limner.files.folder import MANIFEST, ModelFolder, digest
from limner.files.safetensors import (
    TensorEntry,
    check_finite,
    read_header,
    read_tensors,
    strict_json,
)
from limner.pipelines.config import ModelConfig
from limner.pipelines.families import FAMILIES, Family
from limner.text.words import Words, read_words
from limner.types import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

    from limner.pipelines.base import DrawingBase, PipelineBase
    from limner.text.tokenizer import Tokenizer

# 2 is 1 with weights of 8 bits, which older readers are to refuse; the rest is written as 1.
PLAIN, FORMAT = 1, 2
CONFIG, WEIGHTS, TOKENIZER, WORDS, CARD = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "words.json",
    "README.md",
)
_REAL = {"F32", "F16", "BF16", PACKED}
_SHOWN = 5  # names of tensors in one message
_NUMBER_LIMIT = 2**24  # no width, length or vocabulary of a config is larger


@dataclass(frozen=True)
class Inspection:
    """What a folder states of its model, read without building it; weights are not hashed."""

    config: ModelConfig
    tensors: dict[str, TensorEntry]
    info: ModelInfo
    bytes: int
    card: str
    words: Words | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(tensor.count for tensor in self.tensors.values())


def save_checkpoint(
    folder: str | Path,
    pipeline: PipelineBase,
    *,
    name: str,
    licence: str,
    card: str = "",
    weights: str = "fp32",
    **tables: Mapping[str, Any],
) -> None:
    """Write a pipeline as a model folder that `load_checkpoint` reads.

    `tables` are those of the family (`FAMILIES`): the parts' configs with their `name`; a pipeline
    that was loaded remembers its own. Sampling, and the table of words where there is one, are what
    the pipeline has. `weights` is how they are stored: fp32; fp16, in half the bytes; or int8, in
    little more than a quarter (`limner.checkpoint.blocks`).

    Every file is complete on the disk before the first takes its place, and the manifest comes
    last, so a folder that was being replaced when the power went is refused rather than misread.
    Raises ResourceError when the disk refuses; the folder then is as it was; UsageError for a table
    that is neither given nor remembered, where a remembered one does not describe the weights, and
    for weights that int8 cannot store. It does not check that the model draws well.
    """
    from safetensors.torch import save

    # From the GPU too, and without the graph that training may have left on them.
    tensors = {key: value.detach().cpu() for key, value in pipeline.state_dict().items()}
    config = {
        "limner_format": FORMAT if weights == INT8 else PLAIN,
        "family": pipeline.family,
        "name": name,
        "licence": licence,
        "size": pipeline.size,
        "text_length": pipeline.text_length,
    }
    if weights == INT8:
        config["weights"] = INT8
    found, optional = _tables_of(pipeline, tables), FAMILIES[pipeline.family].optional
    config |= {key: table for key, table in found.items() if table or key not in optional}
    files = {
        CONFIG: _to_json(config),
        WEIGHTS: save({k: v.contiguous().clone() for k, v in store(tensors, weights).items()}),
        TOKENIZER: pipeline.tokenizer.to_json().encode(),
    }
    # Models of before the table of words, and imported ones, have none.
    if pipeline.words is not None:
        files[WORDS] = pipeline.words.to_json().encode()
    # The manifest is last: until it is there the folder is refused, never misread.
    files[MANIFEST] = _to_json({"files": {key: digest(data) for key, data in files.items()}})
    if card:
        files = {CARD: card.encode(), **files}
    replace_files(Path(folder), files, Path(folder))


def _tables_of(pipeline: PipelineBase, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return every table of a pipeline's family: given, remembered, or its sampling."""
    held: ModelConfig | None = pipeline.config
    remembered = {} if held is None else held.tables
    known: dict[str, Mapping[str, Any]] = {**remembered, **given}
    family, tables = FAMILIES[pipeline.family], dict[str, Any]()
    for name in family.tables:
        if name == "sampling":
            tables[name] = asdict(cast("DrawingBase[Any]", pipeline).defaults)
        elif name in known:
            tables[name] = dict(known[name])
        elif name in family.optional and getattr(pipeline, name) is None:
            tables[name] = {}
        else:
            raise UsageError(
                f"the config of the pipeline's {name} is not known; give it as {name}=, a table of "
                "its name and settings",
                param=name,
            )
    if held is not None and not given:
        _check_remembered(replace(held, tables=tables), pipeline)
    return tables


def _check_remembered(config: ModelConfig, pipeline: PipelineBase) -> None:
    """Raise UsageError where a loaded pipeline got parts that its tables do not describe."""
    from limner.nn.unfilled import Outline

    try:
        with Outline():
            outline = FAMILIES[config.family].build(config, pipeline.tokenizer)
        shapes = [
            {key: value.shape for key, value in built.state_dict().items()}
            for built in (outline, pipeline)
        ]
        fits = shapes[0] == shapes[1]
    except LimnerError:
        fits = False
    if not fits:
        raise UsageError(
            f"the pipeline is no longer what {quote(config.name)} was loaded as; save it with the "
            f"tables that describe it: {', '.join(FAMILIES[config.family].tables)}"
        )


def load_checkpoint(
    folder: str | Path, *, allow_nonfinite: bool = False, root: Path | None = None
) -> Any:
    """Return the pipeline in a model folder, ready to draw on the CPU, with its `info`.

    It keeps what it was made of as `config`, the `card`, and how weights were `stored`, all of
    which saving it needs. Only safetensors are read. NaN and infinity are refused unless
    `allow_nonfinite`; links may lead only into `root`, by default the folder. Raises
    CheckpointError for everything else that is not exactly a model folder; nothing is repaired or
    guessed.
    """
    opened = ModelFolder(folder, root=root)
    config, manifest, shared = _read_config(opened)
    source = opened.source(WEIGHTS)
    with opened.open(WEIGHTS) as weights, all_tensors(shared) as theirs:
        entries = _entries_of(read_header(weights, source), config, shared, source)
        sha256 = opened.check_digest(WEIGHTS, weights, manifest)
        # The bytes are sound; only now is anything built of what they say.
        tokenizer = _read_tokenizer(opened, manifest)
        pipeline = _build(config, tokenizer, entries, opened)
        # Of the file that was hashed, still open; mapped, so that memory holds the weights once.
        tensors, _ = read_tensors(weights, source)
        if not allow_nonfinite:
            check_finite(tensors, source)
        found = unpack(tensors | theirs, pipeline.state_dict())
        pipeline.load_state_dict(found, strict=True)
    # Drawing needs no gradients, and dropout would make pictures depend on chance.
    pipeline.eval().requires_grad_(False)
    pipeline.info = _info(config, sha256)
    pipeline.words = _read_words(opened, manifest)
    pipeline.config = config
    half = any(entry.dtype == "F16" for entry in entries.values())
    pipeline.stored = config.weights or ("fp16" if half else "fp32")
    pipeline.card = _read_card(opened)
    return pipeline


def inspect_checkpoint(
    folder: str | Path, *, root: Path | None = None, compared: bool = True
) -> Inspection:
    """Return what a model folder states of itself, without torch; CheckpointError as in loading.

    `compared` is as in `read_header`.
    """
    opened = ModelFolder(folder, root=root)
    config, manifest, shared = _read_config(opened)
    with opened.open(WEIGHTS) as weights:
        size, source = os.fstat(weights.fileno()).st_size, opened.source(WEIGHTS)
        entries = read_header(weights, source, compared=compared)
        entries = _entries_of(entries, config, shared, source)
    info, words = _info(config, manifest.get(WEIGHTS, "")), _read_words(opened, manifest)
    return Inspection(config, entries, info, size, _read_card(opened), words)


def _read_card(opened: ModelFolder) -> str:
    if not os.path.lexists(opened.path / CARD):
        return ""
    return opened.read(CARD).decode("utf-8", "replace")


def _info(config: ModelConfig, sha256: str) -> ModelInfo:
    return ModelInfo(config.name, config.family, config.licence, config.size, sha256)


def _entries_of(
    entries: dict[str, TensorEntry], config: ModelConfig, shared: list[Shared], source: str
) -> dict[str, TensorEntry]:
    """Return what a folder's weights are, with those of parts that are another model's."""
    if config.weights == INT8:
        entries = whole_entries(entries, source)
    for part in shared:
        if own := [name for name in entries if name.startswith(f"{part.part}.")]:
            raise CheckpointError(
                f"{source} holds {len(own)} tensors of the {part.part}, whose weights are another "
                "model's; get the model anew"
            )
        entries = entries | part.entries()
    return entries


def _read_config(opened: ModelFolder) -> tuple[ModelConfig, dict[str, str], list[Shared]]:
    source = opened.source(CONFIG)
    data = opened.read(CONFIG)
    values = strict_json(data, source)
    if not isinstance(values, dict):
        raise CheckpointError(f"{source} holds a {type(values).__name__}; expected a table of keys")
    _check_format(values.get("limner_format"), source)
    # The format comes before the keys: a newer limner's folder may have others.
    family = _family_of(values, source)
    apart = ("tables",) if values["limner_format"] > PLAIN else ("tables", "weights")
    known = {field.name: field.type for field in fields(ModelConfig) if field.name not in apart}
    common = list(known)
    # No key may be missing and none unknown: a misspelt one would change a model silently.
    known |= dict.fromkeys(family.tables, "dict")
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known)
            raise CheckpointError(f"{source} has the unknown key {quote(key)}{hint}")
    # What a folder of before a table means, as one that says {}.
    values = {name: {} for name in family.optional} | values
    if missing := [key for key in known if key not in values]:
        raise CheckpointError(f"{source} lacks {', '.join(missing)}")
    for key, wanted in known.items():
        _check_type(source, key, values[key], str(wanted))
    if values.get("weights", INT8) != INT8:
        raise CheckpointError(
            f"{source} has the weights {quote(values['weights'])}; expected {INT8}"
        )
    tables, shared = settle({table: values[table] for table in family.tables}, source)
    # Sampling has its own ranges; the tables of parts decide how much memory is taken.
    built_from = [table for name, table in tables.items() if name != "sampling"]
    _check_numbers(source, [values["size"], values["text_length"], *built_from])
    manifest = opened.manifest()
    opened.check_digest(CONFIG, data, manifest)
    common_values: dict[str, Any] = {key: values[key] for key in common}
    return ModelConfig(**common_values, tables=tables), manifest, shared


def _family_of(values: Mapping[str, Any], source: str) -> Family:
    name = values.get("family", "dalle")  # that the key is missing is told with the others
    if not isinstance(name, str) or name not in FAMILIES:
        raise CheckpointError(
            f"{source} has the family {quote(name)}; expected {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def _check_format(version: Any, source: str) -> None:
    if isinstance(version, bool) or not isinstance(version, int):
        raise CheckpointError(
            f"{source} has the limner_format {quote(version)}; expected a whole number from 1 to "
            f"{FORMAT}"
        )
    if version > FORMAT:
        raise CheckpointError(
            f"{source} was made by a newer limner ({version} > {FORMAT}); upgrade limner to read it"
        )
    if version < 1:
        raise CheckpointError(f"{source} has the limner_format {version}; formats start at 1")


def _check_type(source: str, key: str, value: Any, wanted: str) -> None:
    expected = {"int": int, "str": str}.get(wanted, dict)
    if not isinstance(value, expected) or isinstance(value, bool):
        raise CheckpointError(
            f"{source}: {key} is {quote(value)}; expected {expected.__name__}, not "
            f"{type(value).__name__}"
        )


def _check_numbers(source: str, values: list[Any]) -> None:
    """Refuse sizes that would fill the memory before any shape could be compared."""
    for value in values:
        if isinstance(value, dict | list):
            _check_numbers(source, list(value.values()) if isinstance(value, dict) else value)
        elif isinstance(value, int | float) and not 0 <= value <= _NUMBER_LIMIT:
            raise CheckpointError(
                f"{source} has the number {quote(value)}; expected 0 to {_NUMBER_LIMIT}"
            )


def _read_tokenizer(opened: ModelFolder, manifest: dict[str, str]) -> Tokenizer:
    from limner.text.pretrained_tokenizer import tokenizer_from_json

    data = opened.read_listed(TOKENIZER, manifest)
    source = opened.source(TOKENIZER)
    strict_json(data, source)
    return tokenizer_from_json(data.decode("utf-8"), source=source)


def _read_words(opened: ModelFolder, manifest: dict[str, str]) -> Words | None:
    """Return the table of words, which models of before it and imported ones do not have."""
    if WORDS not in manifest:
        return None
    data = opened.read_listed(WORDS, manifest)
    source = opened.source(WORDS)
    return read_words(strict_json(data, source), source)


def _build(
    config: ModelConfig, tokenizer: Tokenizer, entries: dict[str, TensorEntry], opened: ModelFolder
) -> Any:
    """Build the pipeline twice: without memory to compare shapes, then for real."""
    from limner.nn.unfilled import Outline, Unfilled

    build = FAMILIES[config.family].build
    source = opened.source(CONFIG)
    try:
        with Outline():
            # On the meta device shapes are compared before the memory for them is taken.
            outline = build(config, tokenizer)
        _check_fit(outline.state_dict(), entries, opened.source(WEIGHTS))
        with Unfilled():  # every weight is read from the file, or the file is refused
            return build(config, tokenizer)
    except CheckpointError:
        raise
    except (
        LimnerError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        RuntimeError,
    ) as error:
        raise CheckpointError(f"{source} describes no model that can be built: {error}") from error


def _check_fit(wanted: Mapping[str, Tensor], found: Mapping[str, TensorEntry], source: str) -> None:
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    other = [
        f"{key} {found[key].dtype} {found[key].shape} for {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in found
        and (
            found[key].shape != tuple(tensor.shape)
            or (found[key].dtype in _REAL) != tensor.is_floating_point()
        )
    ]
    # All faults are counted, but a few are named: a wrong codec differs in hundreds.
    if not (missing or extra or other):
        return
    first = next(names for names in (missing, extra, other) if names)
    raise CheckpointError(
        f"{source} does not fit its config.json: {len(missing)} tensors missing, {len(extra)} too "
        f"many, {len(other)} of another shape or kind; the first are "
        f"{', '.join(name[:60] for name in first[:_SHOWN])}"
    )


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
