"""What checks of parity share: a line, an import, a drawing whose logits are watched."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """The greatest difference of an output; of codes, how many differ."""

    name: str
    shape: list[int]
    max_difference: float


def row(name: str, ours: Any, theirs: Any) -> Row:
    """Return the line of two tensors of one shape."""
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    difference = (ours != theirs).sum() if not ours.is_floating_point() else (ours - theirs).abs()
    return Row(name, list(ours.shape), float(difference.max()))


def imported(source: Path, out: Path) -> Any:
    """Import a folder, and return the folder that was written."""
    from limner.convert.importing import import_checkpoint

    return import_checkpoint(source, out).folder


def drawn(model: Any, text: Any, sampling: Any, known: Any = None) -> tuple[Any, Any]:
    """Return the codes (1, S) that a model draws, and the logits (S, V) of every step."""
    import torch

    seen: list[Any] = []
    by_map = len(model.prior.maps) > 1  # one picture alone: the rows are the cells of a map

    def watch(_: Any, logits: Any) -> Any:
        seen.append(logits if by_map else logits[:1])
        return logits

    *_, codes = model.prior.stream(text, sampling, [0], known, processors=[watch])
    return codes, torch.cat(seen)


def liven(part: Any) -> None:
    """Let norms do something: a new one multiplies by 1 and adds nothing."""
    import torch

    for name, parameter in part.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name or ".ln" in name or name.startswith("final_ln"):
            parameter.add_(torch.randn_like(parameter) * 0.1)


def write_words(folder: Path, count: int) -> None:
    """Write a vocabulary of letters and words that no text has, and no merges but one."""
    known = ["<s>", "<pad>", "</s>", "<unk>", "\u0120", *"abcdefghijklmnopqrstuvwxyz", "\u0120a"]
    words = {each: number for number, each in enumerate(known)}
    words |= {f"[{number}]": number for number in range(len(known), count)}
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n\u0120 a\n", encoding="utf-8")
