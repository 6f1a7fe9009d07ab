"""Colour for a grey picture: unCLIP draws it anew, and at every step its light is put right.

At every level of noise a diffusion decoder expects what the picture will be. Here that is moved
until it is as light and as dark as the given picture, by a few steps down the gradient through the
autoencoder (as DPS does, Chung 2022, arXiv 2209.14687), or at once where the decoder draws pixels
(DDNM, Wang 2022, arXiv 2212.00490). What is drawn gives the colour alone: the light of the result
is the given picture's, at its own size. Nothing was trained for it.

Shapes: B pictures of H x W pixels, s pixels a side of what the decoder draws, C channels and h, w
cells of its latent. Images (B, 3, H, W) and light (B, 1, H, W) are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.decoders.drawing import draw_picture
from limner.errors import UsageError
from limner.images import to_tensor
from limner.nn.things import ThingsDecoder
from limner.pipelines.edits import check_side
from limner.pipelines.unclip import UnClip
from limner.priors import embedding
from limner.sampling.diffusion import DiffusionSampling
from limner.types import Drawable, Request, Step

SHARES = (0.299, 0.587, 0.114)  # of red, green and blue in the light (ITU-R BT.601)
FITS, RATE = 3, 0.1  # steps down the gradient at each level of noise, and their length
LAST = 9  # such steps at the end, when no noise is left
REACH = 32  # the part of a picture's side over which colour follows the light
EVEN = 1e-3  # variance of the light below which a region is even


def light_of(images: Tensor) -> Tensor:
    """Return the light (B, 1, H, W) of images (B, 3, H, W)."""
    return (images * images.new_tensor(SHARES).view(1, 3, 1, 1)).sum(1, keepdim=True)


def with_light(images: Tensor, light: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in the colours of others, and of a given light (B, 1, H, W).

    Colours that would be too bright or too dark for any screen are paler, so that the light is kept
    everywhere.
    """
    colour = images - light_of(images)  # of no light
    # How far each channel may go before it leaves [-1, 1]; the light alone is always inside.
    room = torch.where(colour > 0, 1 - light, 1 + light) / colour.abs().clamp_min(1e-6)
    paler = room.amin(1, keepdim=True).clamp(0, 1)
    return light + paler * colour


def along_edges(colour: Tensor, seen: Tensor, light: Tensor) -> Tensor:
    """Return colour (B, 3, s, s), of light `seen` (B, 1, s, s), at the size of light (B, 1, H, W).

    It changes where the light does: around each pixel colour is taken for a line through the light,
    fitted small and applied large (the guided filter, He 2015, arXiv 1505.00996).
    """
    radius = max(1, seen.shape[-1] // REACH)

    def near(values: Tensor) -> Tensor:
        side = 2 * radius + 1
        return F.avg_pool2d(values, side, stride=1, padding=radius, count_include_pad=False)

    mean, light_mean = near(colour), near(seen)
    slope = near(seen * colour) - light_mean * mean
    slope = slope / (near(seen * seen) - light_mean**2 + EVEN)
    slope, start = (
        F.interpolate(near(each), size=light.shape[-2:], mode="bilinear")
        for each in (slope, mean - slope * light_mean)
    )
    return slope * light + start


@torch.inference_mode()
def stream_colours(pipeline: Drawable, request: Request) -> Iterator[Step]:
    """Give the picture of a request colours `request.n` times, yielding a Step at each moment.

    The last one has images (B, 3, H, W) of the picture's own size. Raises UsageError for a model of
    another family, and for a picture of less than 16 pixels a side. It does not know colours finer
    than the model draws: those of a larger picture are spread along the edges of its light.
    """
    if not isinstance(pipeline, UnClip):
        raise UsageError(
            f"a model of the family {pipeline.family!r} gives no colour to a picture; colourise "
            "with one of the family 'unclip'",
            param="model",
        )
    assert request.image is not None, "there is a picture to colourise"
    check_side(request.image)
    sampling, text = pipeline.resolve_sampling(request), pipeline.reading_of(request).text
    light = light_of(to_tensor([request.image]).to(pipeline.device))  # (1, 1, H, W)
    # 1. The decoder draws squares: what a picture lacks of one is filled with its edge.
    square, small = _squared(light), pipeline.small
    seen = F.interpolate(square, size=(small, small), mode="area")  # (1, 1, s, s)
    done, total, finished = 0, request.n * pipeline.decoder_steps(sampling), list[Tensor]()
    for number in range(request.n):
        drawn = seen.expand(-1, 3, -1, -1)
        # 2. A picture of that light in colours that go with the words, from noise.
        for drawn in _draw(pipeline, seen, text, request.seed + number, sampling):
            done += 1
            if done < total:
                yield Step(done, total, images=with_light(drawn, seen))
        # 3. Its colours, at the size of the picture that was given, and along its edges.
        colour = along_edges(drawn - light_of(drawn), seen, square)
        finished.append(with_light(_cut(colour, light), light))
    yield Step(total, total, images=torch.cat(finished))


def _draw(
    pipeline: UnClip, light: Tensor, text: str, seed: int, sampling: DiffusionSampling
) -> Iterator[Tensor]:
    """Yield what is expected of the picture (1, 3, s, s) of this light after each step."""
    ids, steps = pipeline.read([text], trim=True), pipeline.decoder_steps(sampling)
    if text:
        vector = _vector(pipeline, ids, seed, sampling)
    else:
        # Told nothing, it has nothing to be pushed towards.
        vector = light.new_zeros(1, pipeline.clip.config.dimensions)
        sampling = replace(sampling, guidance=0.0)

    def settle(expected: Tensor) -> Tensor:
        nonlocal steps
        steps -= 1
        if pipeline.autoencoder is None:
            return with_light(expected, light)
        return fitted(pipeline, expected, light, FITS if steps else LAST)

    for latent in draw_picture(pipeline.decoder, vector, ids, seed, sampling, settle=settle):
        yield latent if pipeline.autoencoder is None else painted(pipeline, latent).clamp(-1, 1)


def _vector(pipeline: UnClip, ids: Tensor, seed: int, sampling: DiffusionSampling) -> Tensor:
    """Return the embedding (1, D) of a picture that a text (1, T) fits."""
    vector: Tensor = pipeline.clip.encode_texts(ids)
    if pipeline.prior is None:
        return vector
    *_, vector = embedding.draw_nearest(
        pipeline.prior, ids, vector, seed, steps=sampling.prior_steps,
        guidance=sampling.prior_guidance, candidates=sampling.candidates,
    )  # fmt: skip
    return vector


def fitted(pipeline: UnClip, latent: Tensor, light: Tensor, steps: int) -> Tensor:
    """Return a latent (1, C, h, w) whose picture comes nearer to this light in so many steps."""
    bounded = pipeline.decoder.config.bounded
    # What a drawing computes has no gradient: copies that are allowed one.
    with torch.inference_mode(False), torch.enable_grad():
        found, wanted = latent.clone().requires_grad_(True), light.clone()
        optimizer = torch.optim.Adam([found], lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            error = (light_of(painted(pipeline, found)) - wanted).square().sum()
            (found.grad,) = torch.autograd.grad(error, [found])  # of the weights none is kept
            optimizer.step()
            if bounded:
                found.data.clamp_(-1, 1)
    return found.detach()


def painted(pipeline: UnClip, latent: Tensor) -> Tensor:
    """Return the image (1, 3, s, s) of a latent, as smooth in it as the autoencoder's decoder."""
    codec = pipeline.autoencoder
    if isinstance(codec.decoder, ThingsDecoder):
        # What is painted of things does not follow the latent smoothly; the small picture does.
        small = codec.decoder.small(codec.decoder.cells(latent))
        return F.interpolate(small, scale_factor=codec.config.factor, mode="bilinear")
    # Of finite scalars the nearest codes have no gradient: the decoder takes what lies between too.
    images: Tensor = (
        codec.decode(latent) if codec.continuous else codec.picture(codec.decoder(latent))
    )
    return images


def _squared(light: Tensor) -> Tensor:
    """Return light (1, 1, H, W) in the middle of a square, its edges drawn out."""
    height, width = light.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    return F.pad(light, (left, side - width - left, top, side - height - top), mode="replicate")


def _cut(square: Tensor, light: Tensor) -> Tensor:
    """Return the middle of a square, of the size of light (1, 1, H, W), as `_squared` put it."""
    height, width = light.shape[-2:]
    left, top = (square.shape[-1] - width) // 2, (square.shape[-2] - height) // 2
    return square[..., top : top + height, left : left + width]
