"""What `eval`, `compare` and `audit` share: judges, prompts, conditions, and how answers go out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from limner.cli.shared.files import STANDARD, Place, read_prompts, slug
from limner.cli.shared.progress import loading
from limner.errors import UsageError, did_you_mean, quote
from limner.finish.rank import check_best_of
from limner.types import Drawable, Request, Varying

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from limner.evaluate.drawing import Draw, Vary
    from limner.evaluate.metrics.likelihood import MeasuredPrior
    from limner.evaluate.metrics.networks import Network
    from limner.evaluate.prompts.conditions import Conditions, Reference
    from limner.evaluate.prompts.prompt_files import PromptItem
    from limner.evaluate.resampling import Metric
    from limner.types import Codec

Watch = Callable[[str, int, int], None]
CHOSE_AND_JUDGED = "the CLIP that scores also chose the pictures; its scores flatter them"


@dataclass(frozen=True)
class Judges:
    """The CLIP, where one is asked for, and the network whose features are compared."""

    clip: Any = None
    clip_network: Network | None = None
    network: Network | None = None


def open_judges(clip: str, features: str | None = None, weights: Path | None = None) -> Judges:
    """Load the CLIP that is named, or that is embedded, and the feature network."""
    with loading(clip or "clip"):
        from limner.evaluate.metrics.networks import clip_network, open_network
        from limner.registry import load_clip

        loaded = load_clip(clip)
        seen = clip_network(loaded, "limner-clip")
        if features is None and weights is None:  # the CLIP's own are compared
            return Judges(loaded, seen, seen)
        network = open_network(features or "limner-clip", clip=loaded, weights=weights)
        return Judges(loaded, seen, network)


def check_plan(
    on: str, count: int, seed: int, best_of: int | None, sets: tuple[str, ...] = ()
) -> int:
    """Return how many pictures each prompt gets, before any model is loaded.

    Raises UsageError unless `on` is scenes, a folder, a file, or - for standard input, and for a
    number, a set or a seed out of range.
    """
    from limner.evaluate.scenes.prompts import ScorePlan, check_count

    if on not in ("scenes", STANDARD) and not Path(on).exists():
        hint = did_you_mean(on, ["scenes"])
        raise UsageError(
            f"--on {quote(on)}: expected scenes, a folder of captioned pictures, or a file of "
            f"prompts{hint}",
            param="on",
        )
    check_count(count)
    ScorePlan(count, seed, sets=sets)  # which refuses a seed or a set
    tries = 1 if best_of is None else best_of
    check_best_of(tries, 1)
    return tries


def read_items(path: Path) -> list[PromptItem]:
    """Return the prompts of a file: one a line, PartiPrompts' .tsv or GenEval's .jsonl."""
    from limner.evaluate.prompts.prompt_files import parse_prompts

    name = "standard input" if str(path) == STANDARD else str(path)
    return parse_prompts(read_prompts(path), name)


def is_folder(on: str) -> bool:
    """Say whether `--on` names a folder of captioned pictures."""
    return on != STANDARD and Path(on).is_dir()


def label_of(model: str) -> str:
    """Return what a report calls a model in its file's name: its own name, or that of its run."""
    if model.startswith("hf:"):
        return slug(model.removeprefix("hf:"))
    path = Path(os.path.abspath(model))
    return slug((path.parent if path.name == "model" else path).name.removesuffix(".csv"))


def report_folder(
    out: Path | None, kind: str, models: Sequence[str], *, as_json: bool
) -> Path | None:
    """Return the folder of the report, where one is written, after trying whether it can be."""
    name = "-".join([kind, *map(label_of, models)])
    folder = out or (None if as_json else Path("runs") / name)  # a program keeps its answer itself
    if folder is not None:
        Place(folder).prepare()
    return folder


def conditions_of(
    pipeline: Drawable,
    request: Request,
    *,
    judges: Judges = Judges(),
    best_of: int = 1,
    reference: Reference | None = None,
) -> Conditions:
    """Return what numbers of a pipeline's drawings depend on."""
    from limner.evaluate.prompts.conditions import Conditions

    return Conditions(
        pipeline.info.name,
        pipeline.info.sha256,
        hardware_of(pipeline.device),
        asdict(pipeline.resolve_sampling(request)),
        pipeline.precision,
        best_of,
        reference,
        judges.network,
        judges.clip_network,
    )


def hardware_of(device: Any = None) -> str:
    """Return the name of the processor that computes, with the number of threads of a CPU."""
    import torch

    from limner.evaluate.machine import cpu_name

    if device is not None and device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def drawing(pipeline: Drawable, request: Request) -> Draw:
    """Return how the pipeline draws prompts with the sampling that the request asks for.

    They are read as `limner draw` reads them, unless the request is verbatim.
    """
    # Resolved once: every batch draws alike.
    sampling = pipeline.resolve_sampling(request)

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        read = [pipeline.reading_of(replace(request, prompt=each)).text for each in prompts]
        images: Tensor = pipeline.draw_many(read, seeds, sampling)
        return images

    return draw


def varying(pipeline: Drawable, request: Request) -> Vary | None:
    """Return how the pipeline varies pictures, None where it can't."""
    if not isinstance(pipeline, Varying):
        return None
    sampling = pipeline.resolve_sampling(request)
    return lambda pictures, seeds: pipeline.vary_many(pictures, seeds, sampling)


def codec_of(pipeline: Drawable) -> Codec | None:
    """Return the codec whose codes the pipeline draws, None where none is or it can't encode."""
    codec: Any = pipeline.codec
    return codec if codec is not None and codec.encodes else None


def prior_of(pipeline: Any) -> MeasuredPrior | None:
    """Return the pipeline's token prior as it is measured, None where there is none to measure."""
    from limner.evaluate.metrics.likelihood import MeasuredPrior

    codec = codec_of(pipeline)
    if codec is None:
        return None
    codes = pipeline.prior.length * codec.groups
    return MeasuredPrior(pipeline.nll_many, codes, codec.vocabulary, pipeline.prior.nll_kind)


def of_true_pictures(
    pipeline: Drawable,
    asked: Sequence[PromptItem],
    images: Sequence[Image],
    judges: Judges,
    watch: Watch,
) -> list[Metric]:
    """Return the prior's likelihood and the codec's rFID of captioned pictures at the model's size.

    Without pictures, or a codec, there is none; of one picture no rFID.
    """
    import torch

    from limner.data.batches.batches import to_floats
    from limner.data.batches.picture_store import fitted
    from limner.evaluate.metrics.codec import reconstruct, reconstruction_distance
    from limner.evaluate.metrics.likelihood import measure_prior

    codec, prior = codec_of(pipeline), prior_of(pipeline)
    if not images or codec is None or prior is None:
        return []
    truth = to_floats(torch.stack([fitted(each, pipeline.size) for each in images]))
    texts = [each.text for each in asked]
    found = measure_prior(prior, {"captions": (texts, truth)}, watch=watch).metrics("captions")
    if judges.network is not None and len(images) > 1:
        copies = reconstruct(codec, truth)  # through the codec and back
        found.append(reconstruction_distance(judges.network, copies, truth))
    return found


def tell(answer: dict[str, Any], folder: Path | None, page: str, *, as_json: bool) -> Path | None:
    """Write report.html and report.json where a folder is given; print the answer if asked to.

    Where a report is there already, the new one gets a number. Returns the page's path.
    """
    from limner.files.atomic import write_new
    from limner.html import write_page

    text = json.dumps(answer, ensure_ascii=False)
    path = None if folder is None else write_page(_free_page(folder), page)
    if path is not None:
        write_new(path.with_suffix(".json"), (text + "\n").encode())
    if as_json:
        typer.echo(text)
    return path


def _free_page(folder: Path) -> Path:
    """Return the first report.html, report-2.html, ... of a folder that has no page or JSON."""
    number = 1
    while True:
        path = folder / ("report.html" if number == 1 else f"report-{number}.html")
        if not any(os.path.lexists(each) for each in (path, path.with_suffix(".json"))):
            return path
        number += 1
