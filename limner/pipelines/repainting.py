"""A model that draws from noise redraws a part of a picture: RePaint, and SDEdit for a strength.

Lugmayr 2022, arXiv 2201.09865: at every level of noise what is kept is put back, and each level is
gone through several times, so that the hole comes to suit what is around it. Meng 2021, arXiv
2108.01073: with a strength the picture is noised only so far, and drawn from there.

Shapes: s pixels of what the decoder's part draws, C channels, h and w of what it takes noise off,
D dimensions of CLIP's space; pictures are (1, 3, s, s) in [-1, 1], shares (1, 1, s, s).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.decoders.drawing import Given, draw_picture
from limner.errors import UsageError
from limner.images import to_images
from limner.pipelines.blending import fill_hole, resize
from limner.pipelines.edits import Redraw, Redrawing, Redrawn
from limner.pipelines.things import told_by
from limner.types import Step

LEAST_HOLE = 1 / 8  # of a cell: with less open it is kept
_FITS, _RATE = 80, 0.1  # steps of fitting a latent, and their size
_TURN = 0.5  # of the angle from a picture towards a difference of texts


def repaint(pipeline: Any, task: Redraw) -> Redrawing:
    """Redraw a window of a model of the family unclip; UsageError for candidates."""
    if task.candidates is not None:
        raise UsageError(
            f"candidates is {task.candidates}, but this model draws from noise and sees all of the "
            "picture at every step; leave candidates out, or take best_of",
            param="candidates",
        )
    small, total = (pipeline.small, pipeline.small), pipeline.steps_of(task.sampling, told=True)
    picture, share = resize(task.picture, small), resize(task.share, small)
    strength = 1.0 if task.strength is None else task.strength
    if strength == 1:  # less noise than that goes on from what is in the hole
        picture = fill_hole(picture, share)
    # 1. The embedding of the picture that it shall be.
    ids = pipeline.read([task.prompt], trim=True)
    vector = pipeline.clip.encode_texts(ids)
    if task.before or not task.prompt:
        vector = _seen(pipeline, task)
    else:
        for expected in pipeline.vectors(ids, task.seed, task.sampling):
            vector = expected
            yield Step(0, total)
    # 2. What is kept, as the decoder knows it: pixels, or the latent of its autoencoder.
    start = latent_of(pipeline, picture)
    hole = F.adaptive_avg_pool2d(share, (start.shape[-2], start.shape[-1]))
    given = Given(start, hole < LEAST_HOLE, strength)
    # 3. From noise to a picture, what is kept put back at every level.
    images = picture
    drawing = draw_picture(pipeline.decoder, vector, ids, task.seed, task.sampling, given)
    for number, latents in enumerate(drawing):
        kind = "images" if pipeline.autoencoder is None else "latents"
        yield Step(min(number, total - 1), total, **{kind: latents})
        images = latents
    images = pipeline.pixels(images, told_by(pipeline, [task.prompt]))
    # 4. Larger, where the model has an upsampler.
    for larger in pipeline.enlarge(images, task.seed, task.sampling):
        images = larger
    return Redrawn(images, torch.ones_like(share[..., :1, :1]))


def _seen(pipeline: Any, task: Redraw) -> Tensor:
    """Return the vector (1, D) of what the picture shows, turned as two texts differ.

    Ramesh 2022, arXiv 2204.06125, section 3.3.
    """
    vector = pipeline.see(to_images(task.picture))
    if not (task.before and task.prompt):
        return vector
    now, then = (
        pipeline.clip.encode_texts(pipeline.read([text], trim=True))
        for text in (task.prompt, task.before)
    )
    towards = nn.functional.normalize(now - then, dim=-1)
    if not pipeline.clip.unit:
        towards = towards * vector.norm(dim=-1, keepdim=True)
    turned: Tensor = pipeline.turn(vector, towards, _TURN)
    return turned


def latent_of(pipeline: Any, picture: Tensor) -> Tensor:
    """Return what the decoder would draw of a picture (1, 3, s, s): it, or a latent (1, C, h, w).

    An autoencoder that was kept to draw alone has no encoder; then the latent is searched for that
    it paints the picture from.
    """
    auto = pipeline.autoencoder
    if auto is None or auto.encodes:
        return pipeline.latents(picture)
    config = pipeline.decoder.config
    with torch.inference_mode(False), torch.enable_grad():
        wanted = picture.clone()
        raw = torch.zeros(1, config.channels, config.size, config.size, device=picture.device)
        raw.requires_grad_()
        optimizer = torch.optim.Adam([raw], lr=_RATE)
        for _ in range(_FITS):
            optimizer.zero_grad()
            painted = auto.picture(auto.decoder(raw.tanh()))
            loss = (painted - wanted).square().mean()
            (raw.grad,) = torch.autograd.grad(loss, raw)
            optimizer.step()
        return raw.detach().tanh()
