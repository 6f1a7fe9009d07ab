"""A model of tokens redraws a part of a picture: the codes outside are given, the others drawn.

Shapes: K candidates, S cells of all token maps, G codes a cell, h and w rows and columns of the
finest map; pictures are (1, 3, s, s) in [-1, 1], shares (1, 1, s, s) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError
from limner.pipelines.blending import blur, fill_hole
from limner.pipelines.edits import Redraw, Redrawing, Redrawn, cells_of, pick_cells
from limner.pipelines.looking import agreement, named_in
from limner.pipelines.things import read_things, reader_of, told_by
from limner.priors.base import Known, candidate_seeds, map_slices
from limner.types import Step

CANDIDATES = 8
ROUNDS = 3  # of candidates, until one shows all that is asked
LEAST_HOLE = 1 / 8  # of a cell: with less open it keeps its code
DIFFERS = 0.15  # of the greatest difference between two texts: from here on a cell is redrawn
_SMOOTH = 1.2  # cells: a code that the text does not suit says the same of its neighbours
_GOOD_PART = 0.3  # of a thing: from here on it is redrawn whole
_SPREAD = 0.25  # of a pixel in [-1, 1], for judging how well a candidate continues what is kept
_EQUAL = 0.02  # what is shown of what is asked: less apart is as much


def redraw(pipeline: Any, task: Redraw) -> Redrawing:
    """Redraw a window: known codes stay, candidates are drawn, and the one that fits best is kept.

    Raises UsageError where the codec takes no pictures.
    """
    prior, codec, count = pipeline.prior, pipeline.codec, task.candidates or CANDIDATES
    if not codec.encodes:
        raise UsageError(
            "this model's codec was kept to draw alone and takes no pictures; edit with a model "
            "that has its encoder, as 'default' has"
        )
    sampling = task.sampling if task.prompt else replace(task.sampling, guidance=0.0)
    hooks = pipeline.hooks(sampling, task.processors)
    text = pipeline.read([task.prompt])
    # 1. The cells that are drawn anew: those of the mask, or what the texts say of the picture.
    part = choose_part(pipeline, task, text)
    share = task.share * F.interpolate(part, task.share.shape[-2:])
    hole = torch.cat([cells_of(share, each) for each in prior.maps])[None]  # (1, S)
    keep = hole < LEAST_HOLE
    if bool(keep.all()):  # a hole of a few pixels: the cells with most of it, where there is any
        keep = hole < hole.amax().clamp_min(1e-9)
    # 2. The codes of the picture; its hole is filled, so that they tell nothing of what was there.
    filled = fill_hole(task.picture, share)
    codes = codec.encode(filled).view(1, prior.length, -1)
    # 3. Candidates, until one is read to show all that is asked.
    there = named_in(pipeline.reads_by, pipeline.words, filled)
    kept, done = Kept(float("-inf"), float("-inf"), filled), 0
    for seed in candidate_seeds(task.seed, ROUNDS):
        drawing = _candidates(
            pipeline, replace(task, picture=filled, candidates=count, seed=seed), text,
            (codes, keep), sampling, hooks,
        )  # fmt: skip
        drawn, scores = codes, torch.zeros(1, device=codes.device)
        for moment in drawing:
            drawn, scores = moment
            done = max(done, min(drawn.shape[1], prior.length - 1))  # rounds and groups begin anew
            yield Step(done, prior.length, codes=drawn[:1])
        # 4. As in drawing, a picture's pixels must not depend on others.
        grids = drawn.unflatten(1, codec.layout)
        pictures = codec.decode_each(grids, told_by(pipeline, [task.prompt] * len(grids)))
        fit = scores + edge_fit(pictures, task.picture, share, prior.maps[-1])
        laid = torch.lerp(task.picture, pictures, share)
        shown = agreement(pipeline.reads_by, pipeline.words, task.wanted, laid, there)
        kept = choose(kept, pictures, fit, shown)
        if kept.shown >= 1 - _EQUAL:
            break
    return Redrawn(kept.picture, part)


@dataclass(frozen=True)
class Kept:
    """The drawing (1, 3, s, s) that is kept so far: what it shows of what is asked, how it fits."""

    shown: float
    fit: float
    picture: Tensor


def choose(kept: Kept, pictures: Tensor, fit: Tensor, shown: Sequence[float] | None) -> Kept:
    """Return what is kept of more pictures (K, 3, s, s): of those that show most the fittest.

    `fit` (K,) is in nats; `shown` how much of what is asked each shows, None where nothing reads:
    then each shows all.
    """
    read = torch.ones_like(fit) if shown is None else fit.new_tensor(shown)
    best = int(fit.masked_fill(read < read.max() - _EQUAL, float("-inf")).argmax())
    found = Kept(float(read[best]), float(fit[best]), pictures[best : best + 1])
    more = found.shown - kept.shown
    return found if more > _EQUAL or (more > -_EQUAL and found.fit > kept.fit) else kept


def _candidates(
    pipeline: Any, task: Redraw, text: Tensor, known: Known, sampling: Any, hooks: Any
) -> Any:
    """Yield codes (K, <= S, G) of candidates as they grow, and how likely each makes the rest."""
    if len(pipeline.prior.maps) > 1 and pipeline.codec.residual:
        return _by_scale(pipeline, task, text, known[1], sampling, hooks)
    return pipeline.prior.redraw(text, sampling, task.seed, known, task.candidates, **hooks)


def choose_part(pipeline: Any, task: Redraw, text: Tensor) -> Tensor:
    """Return which cells (1, 1, h, w) of the hole are redrawn: 1 for all, or for a part.

    Of a part, the cells whose codes the text finds least likely beside no text, or beside the text
    that says what is there: as DiffEdit (Couairon 2022, arXiv 2210.11427) does with two texts.
    """
    if task.strength in (None, 1) and not task.before:  # all of it
        return torch.ones_like(task.share[..., :1, :1])
    grid = pipeline.prior.maps[-1]
    hole = (cells_of(task.share, grid) >= LEAST_HOLE).view(grid)
    if task.prompt:
        misfit = _misfit(pipeline, task, text, grid)
    else:  # nothing says what is to change, so chance does, in patches
        generator = torch.Generator().manual_seed(task.seed)
        misfit = torch.rand(grid, generator=generator).to(hole.device)
    misfit = blur(misfit[None, None].float(), _SMOOTH)[0, 0]
    if task.strength is not None:
        chosen = pick_cells(misfit, hole, task.strength)
    else:
        differs = (misfit > 0) & (misfit >= DIFFERS * misfit[hole].max())
        chosen = hole & whole_things(pipeline.codec, task.picture, box_around(differs))
    return chosen[None, None].float()


def _misfit(pipeline: Any, task: Redraw, text: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return by how many nats less likely each cell (h, w) is by one text than by the other."""
    codes = pipeline.codec.encode(task.picture)
    before = pipeline.read([task.before])
    now, then = (pipeline.prior.nll(each, codes).sum(2) for each in (text, before))
    finest = map_slices(pipeline.prior.maps)[-1]
    return (now - then)[0, finest].view(grid)


def box_around(chosen: Tensor) -> Tensor:
    """Return the smallest rectangle (h, w) that holds the chosen cells.

    What is seen of a thing in the first rows tells the rest of it, so that its later cells surprise
    less: the middle of a thing may not be chosen, but it belongs to it.
    """
    rows, columns = chosen.any(1).int(), chosen.any(0).int()
    between = [(each.cumsum(0) > 0) & (each.flip(0).cumsum(0).flip(0) > 0)
               for each in (rows, columns)]  # fmt: skip
    return between[0][:, None] & between[1][None, :]


def whole_things(codec: Any, picture: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen cells (h, w) with all of each thing that a good part of is chosen.

    What is read of a picture (1, 3, s, s) is known where a codec reads things; others choose on.
    """
    decoder = reader_of(codec)
    if decoder is None:
        return chosen
    whole, (height, width) = chosen.clone(), chosen.shape
    for thing in read_things(codec, decoder, picture).things:
        _, _, _, *box = thing.pixels(width, height)
        if chosen[*box].numel() and float(chosen[*box].float().mean()) >= _GOOD_PART:
            whole[*box] = True
    return whole


def edge_fit(pictures: Tensor, shown: Tensor, share: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return how well pictures (K, 3, s, s) continue what is kept around the hole, in nats (K,).

    Judged are the kept pixels of cells that were drawn, and those within half a cell.
    """
    side = share.shape[-1]
    cell = side // grid[1]
    near = F.max_pool2d((share > 0).float(), 2 * (cell // 2) + 1, 1, cell // 2)
    kept = (share == 0) & (near > 0)
    if not bool(kept.any()):
        return pictures.new_zeros(len(pictures))
    wrong = ((pictures - shown) / _SPREAD).square().mean(1, keepdim=True) * kept
    # Pixels of a cell say much the same: together they count as the cells that they fill.
    return -0.5 * wrong.sum((1, 2, 3)) / cell**2 * 3


def _by_scale(
    pipeline: Any, task: Redraw, text: Tensor, keep: Tensor, sampling: Any, hooks: Any
) -> Any:
    """Yield codes (K, <= S, G) and scores map by map: known ones say what the coarser maps left.

    What is drawn of a coarse map changes what the finer ones have to add, so that the picture is
    encoded anew before each.
    """
    prior, codec = pipeline.prior, pipeline.codec
    slices, groups = map_slices(prior.maps), prior.config.groups
    finished, every = list[Tensor](), candidate_seeds(task.seed, task.candidates or CANDIDATES)
    for first in range(0, len(every), prior.batch_rows):
        seeds = every[first : first + prior.batch_rows]
        rows = text.expand(len(seeds), -1)
        codes = text.new_zeros(len(seeds), 0, groups)
        for which, cells in enumerate(slices):
            found = codec.encode_after(task.picture.expand(len(seeds), -1, -1, -1), codes, which)
            rest = text.new_zeros(len(seeds), prior.length - cells.stop, groups)
            given = torch.cat([codes, found.view(len(seeds), -1, groups), rest], dim=1)
            held = keep.expand(len(seeds), -1).clone()
            held[:, : cells.start] = True
            drawing = prior.stream(rows, sampling, seeds, (given, held), **hooks)
            # The maps before are given; of what is drawn this map is taken, and the rest left.
            drawn = next(each for each in drawing if each.shape[1] >= cells.stop)
            codes = drawn[:, : cells.stop].reshape(len(seeds), -1, groups)
            yield codes, torch.zeros(len(seeds))
        finished.append(codes)
    codes = torch.cat(finished)
    whole = codes if groups > 1 else codes[..., 0]
    yield whole, prior.known_nats(text, whole, keep)
