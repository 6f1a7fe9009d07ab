"""The card of a model that was trained on pictures of one's own: what of, how, and how to again."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.train.config.run import TrainConfig
from limner.train.inputs.own import OwnData

PLACES = ("out", "keep", "codec_from", "start_from", "source", "validation_source")


def card_of(config: TrainConfig, data: OwnData) -> str:
    """Return a model card in Markdown: data, fingerprints, counts, and the command with its file.

    Absolute paths are shown by their last part: they are nobody's business but the owner's.
    """
    rows = [
        f"| {_cell(_shown(each['place']))} | {each['kind']} | {each['total']} | {each['bad']} "
        f"| `{each['fingerprint']}` |"
        for each in data.described
    ]
    return "\n".join(
        [
            "---",
            f"license: {json.dumps(config.model_licence)}",
            "library_name: limner",
            "pipeline_tag: text-to-image",
            "---",
            f"# {_cell(Path(config.out).name)}",
            "",
            "A text-to-image model of the DALL-E family, trained with limner on its owner's "
            "pictures. It draws",
            "what their captions told, and may have learnt some of the pictures by heart.",
            "",
            "| data | kind | samples | bad | fingerprint |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Trained on {data.counts.get('train', 0)} pictures; "
            f"{data.counts.get('held_out', 0)} were held out. Licence: "
            f"{_cell(config.model_licence)}.",
            "",
            "Made by `limner train run.toml`, with this `run.toml`:",
            "",
            "```toml",
            to_toml(_changed(config)).rstrip(),
            "```",
            "",
        ]
    )


def to_toml(values: Mapping[str, Any], prefix: str = "") -> str:
    """Return a config's values as TOML."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_value(value)}\n" for key, value in plain.items()]
    for key, table in tables.items():
        if table:
            lines.append(f"\n[{prefix}{key}]\n{to_toml(table, f'{prefix}{key}.')}")
    return "".join(lines)


def _changed(config: TrainConfig) -> dict[str, Any]:
    """Return the values of a config that are not defaults."""
    default = TrainConfig(config.task, "x").to_json()
    found = {}
    for key, value in config.to_json().items():
        if isinstance(value, Mapping) and dataclasses.is_dataclass(config.value(key)):
            value = {name: each for name, each in value.items() if each != default[key][name]}
            # No home folder in a card that may be public.
            value = {name: _shown(v) if name in PLACES else v for name, v in value.items()}
        if key in ("task", "out") or value != default.get(key):
            found[key] = _shown(value) if key in PLACES else value
    return found


def _shown(place: str) -> str:
    return Path(place).name if Path(place).is_absolute() else place


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
