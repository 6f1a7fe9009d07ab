"""A checkpoint of another library in, a model folder of limner out.

Nothing of it runs, and nothing is written unless every tensor has its place. Tensors are read,
turned and written one at a time, in the precision that they have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.checkpoint.model import CARD, CONFIG, PLAIN, TOKENIZER, WEIGHTS
from limner.convert.files import Files
from limner.convert.formats import FORMATS, UNSTATED, Plan, find_format, recognise
from limner.errors import CheckpointError, ConfigError, UsageError, quote
from limner.files import hub
from limner.files.atomic import new_folder, refuse_what_is_there
from limner.files.folder import MANIFEST, digest
from limner.files.writing import write_tensors

if TYPE_CHECKING:
    from limner.convert.keys import Weight

CODEC_FILE = "codec.safetensors"  # of a codec alone, as a run of limner train writes it
# Whatever sizes that a stranger wrote make building an outline raise.
_UNFIT = (ConfigError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
Progress = Callable[[int, int], None]  # bytes that are written, and all


@dataclass(frozen=True)
class Imported:
    """What was imported: the format, the folder that was written, and what is in it.

    `family` is "" for a codec alone; `size` is in pixels, `parameters` and `bytes` are of the
    weights.
    """

    format: str
    folder: str
    name: str
    family: str
    size: int
    licence: str
    parameters: int
    bytes: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self) | {"notes": list(self.notes)}


def import_checkpoint(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "",
    licence: str = "",
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Read a checkpoint of another library, and write it as a folder that limner loads.

    `source` is a folder, a file, or `hf:owner/name[@revision]`; `out` is a new or empty folder.
    `format` is a name of `limner.convert.formats.FORMATS`; without it the files tell. `licence` is
    that of the weights, where their files do not state it. Pickles are
    opened by a process without network that can write no file. `progress` is told the bytes that
    are written, and all. Raises UsageError for an unknown format and an `out` that is in use,
    UnknownModelError where nothing is at `source`, CheckpointError for files that are damaged,
    hostile or do not fit, ResourceError when the disk or the Hub refuses. Nothing is written then.
    """
    # 1. What is cheap to refuse comes before anything is fetched or opened.
    known = find_format(format) if format else None
    target = Path(out)
    check_out(target)
    with Files(_fetched(str(source), known.files if known else None)) as files:
        # 2. What it is, and where each tensor will go.
        name = format or recognise(files)
        try:
            plan = find_format(name).reader().plan(files)
        except _UNFIT as error:
            raise CheckpointError(
                f"{files.shown} has sizes that no model of {name} has: {error}"
            ) from error
        if licence and plan.licence == UNSTATED:
            plan = replace(plan, licence=licence)
        # 3. Into a folder beside the target, which takes its place when all is written.
        with new_folder(target) as partial:
            _write(partial, plan, progress)
    count = sum(_count(each) for each in plan.weights.values())
    size = (target / (WEIGHTS if plan.family else CODEC_FILE)).stat().st_size
    return Imported(
        name, str(target), plan.name, plan.family, plan.size, plan.licence, count, size, plan.notes
    )  # fmt: skip


def check_out(out: Path) -> None:
    """Raise UsageError unless a folder can be made at `out`."""
    resolved = out.resolve()
    refuse_what_is_there(resolved, resolved.with_name(f"{resolved.name}.partial"))


def _fetched(source: str, patterns: tuple[str, ...] | None) -> Path:
    if not source.startswith(hub.PREFIX):
        if not source or "\0" in source:
            raise UsageError(f"the source is {quote(source)}; give a folder or a file")
        return Path(source)
    every = tuple(each for known in FORMATS.values() for each in known.files)
    return hub.download(source, patterns or tuple(dict.fromkeys(every)))[0]


def _write(folder: Path, plan: Plan, progress: Progress) -> None:
    if not plan.family:
        metadata = {"codec": json.dumps(plan.tables["codec"])}
        write_tensors(folder / CODEC_FILE, plan.weights, metadata, progress)
        (folder / CARD).write_text(plan.card, encoding="utf-8")
        return
    config = {
        "limner_format": PLAIN,
        "family": plan.family,
        "name": plan.name,
        "licence": plan.licence,
        "size": plan.size,
        "text_length": plan.text_length,
        **plan.tables,
    }
    digests = {WEIGHTS: write_tensors(folder / WEIGHTS, plan.weights, None, progress)}
    texts = {CONFIG: _to_json(config), TOKENIZER: plan.tokenizer.encode()}
    for name, data in {**texts, CARD: plan.card.encode()}.items():
        (folder / name).write_bytes(data)
    digests |= {name: digest(data) for name, data in texts.items()}
    (folder / MANIFEST).write_bytes(_to_json({"files": digests}))


def _to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _count(weight: Weight) -> int:
    count = 1
    for each in weight.shape:
        count *= each
    return count
