"""Morphing: pictures on the way from one prompt or picture to another, each near the one before.

What a model draws from is followed from one end to the other, with the same random numbers all
along: the vectors that a codec's decoder gets, CLIP's vector and the text of a decoder, the
condition of a GAN. Where the way is steep the pictures stand closer.

Shapes: B pictures, T text tokens, D dimensions of a vector; pictures are (1, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError
from limner.gan.drawing import drawn_noise
from limner.images import to_tensor
from limner.nn.told import Told
from limner.pipelines.dalle import Dalle
from limner.pipelines.edits import check_side
from limner.pipelines.gan import Gan
from limner.pipelines.things import told_by
from limner.pipelines.unclip import UnClip, sized
from limner.types import Drawable, Step

if TYPE_CHECKING:
    from PIL.Image import Image

STEADY = 2.0  # greatest change between two pictures over the median one, up to which it is even
BETWEEN = 3  # pictures that a prior draws on the way from one prompt to another
_TOLD = 0.5  # share of the way from an end up to which its words are told to the decoder

Way = Callable[[float], Tensor]  # a share in [0, 1] of the way to the picture there


@dataclass(frozen=True)
class End:
    """One end of a morph: words as they are drawn, or a picture."""

    text: str = ""
    image: Image | None = None


@torch.inference_mode()
def morph_steps(
    pipeline: Drawable, first: End, last: End, seed: int, sampling: Any, frames: int
) -> Iterator[Step]:
    """Draw a morph of at least two `frames`, a Step for each; the last Step has all, in order.

    Raises UsageError for a family without a way, for a picture where it has none from one, and for
    one of less than 16 pixels a side.
    """
    kinds = [kind for kind in WAYS if isinstance(pipeline, kind)]
    if not kinds:
        raise UsageError(
            f"a model of the family {pipeline.family!r} cannot morph; give one of the families "
            "'dalle', 'unclip' or 'gan'",
            param="model",
        )
    for image in (first.image, last.image):
        if image is not None:
            check_side(image)
    way = WAYS[kinds[0]](pipeline, first, last, seed, sampling)
    found: dict[float, Tensor] = {}
    for share in _evenly(way, found, frames):
        if len(found) < frames:
            yield Step(len(found), frames, images=found[share])
    drawn = torch.cat([found[share] for share in sorted(found)])
    yield Step(frames, frames, images=_faded(drawn))


def changes(images: Tensor) -> Tensor:
    """Return how far each picture is from the one before: RMS of pixels (N - 1,), of (N, 3, H, W).

    A value in [0, 2], as pixels are in [-1, 1].
    """
    return (images[1:] - images[:-1]).square().mean((1, 2, 3)).sqrt()


def _evenly(way: Way, found: dict[float, Tensor], count: int) -> Iterator[float]:
    """Yield the shares at which pictures were `found`, ends first, then amid the widest gaps.

    Pictures cost the same wherever they stand, so that each goes where the change is greatest.
    """
    for share in (0.0, 1.0):
        found[share] = way(share)
        yield share
    gaps = {(0.0, 1.0): _distance(found[0.0], found[1.0])}
    while len(found) < count:
        # Of equal gaps the widest in shares: two ends alike still have a way between them.
        before, after = max(gaps, key=lambda gap: (gaps[gap], gap[1] - gap[0]))
        del gaps[before, after]
        amid = (before + after) / 2
        found[amid] = way(amid)
        for gap in ((before, amid), (amid, after)):
            gaps[gap] = _distance(found[gap[0]], found[gap[1]])
        yield amid
    _smooth(way, found)


def _smooth(way: Way, found: dict[float, Tensor]) -> None:
    """Draw more where most changes, each in place of a picture that is hardly missed.

    Halves of a gap in shares may hold all of its change and nothing: then pictures stand together
    in one place and lack in another. At most as many are drawn as there are.
    """
    for _ in range(len(found)):
        shares = sorted(found)
        gaps = [_distance(found[one], found[other]) for one, other in pairwise(shares)]
        widest = max(gaps)
        if widest <= STEADY * median(gaps):
            return
        missed = [
            _distance(found[before], found[after])
            for before, after in zip(shares, shares[2:], strict=False)
        ]
        if not missed or min(missed) >= widest:
            return
        at = gaps.index(widest)
        amid = (shares[at] + shares[at + 1]) / 2
        if amid in found:  # no number lies between
            return
        del found[shares[missed.index(min(missed)) + 1]]
        found[amid] = way(amid)


def _faded(images: Tensor) -> Tensor:
    """Return as many pictures (N, 3, H, W) that change evenly, where those given jump.

    They lie on the straight lines from each to the next, so that what turns into another thing at
    once, with no number between, fades over several; the ends stay.
    """
    gaps = changes(images)
    if float(gaps.max()) <= STEADY * median(gaps.tolist()):
        return images
    along = torch.cat((gaps.new_zeros(1), gaps.cumsum(0)))
    wanted = torch.linspace(0, float(along[-1]), len(images), device=along.device)
    after = torch.searchsorted(along, wanted, right=True).clamp(1, len(images) - 1)
    share = (wanted - along[after - 1]) / gaps[after - 1].clamp_min(1e-9)
    return torch.lerp(images[after - 1], images[after], share.clamp(0, 1)[:, None, None, None])


def _distance(one: Tensor, other: Tensor) -> float:
    return float(changes(torch.cat([one, other])))


def _dalle_way(pipeline: Dalle, first: End, last: End, seed: int, sampling: Any) -> Way:
    """Go through pictures that the prior draws between the prompts, from vectors to vectors."""
    codec = pipeline.codec
    if not codec.paints:
        raise UsageError(
            "the codec of this model has no decoder of vectors, between which a morph goes; give "
            "a model with a codec of limner's",
            param="model",
        )
    grids = _code_grids(pipeline, first, last, seed, sampling)
    stops = [codec.embed(grid) for grid in grids]  # (1, D, h, w) each
    told = told_by(pipeline, [first.text, last.text])

    def at(share: float) -> Tensor:
        """Return the picture (1, 3, H, W) at a share of the way."""
        stage = min(int(share * (len(stops) - 1)), len(stops) - 2)
        within = share * (len(stops) - 1) - stage
        return codec.paint(torch.lerp(stops[stage], stops[stage + 1], within), _told(told, share))

    return at


def _told(ends: Sequence[Told], share: float) -> list[Told]:
    """Return what words say of a picture at a share of the way: of the nearer end, less and less.

    Amid, where one thing turns into another, nothing is said, so that it fades.
    """
    far = min(share, 1 - share) / _TOLD
    return [replace(ends[round(share)], weight=max(0.0, 1 - far) ** 2)] if ends else []


def _code_grids(pipeline: Dalle, first: End, last: End, seed: int, sampling: Any) -> list[Tensor]:
    """Return the codes (1, *layout[, G]) of both ends, and of pictures drawn between prompts."""
    prior, words = pipeline.prior, first.image is None and last.image is None
    shares: tuple[float, ...] = (0.0, 1.0)
    if words and prior.takes_processors and prior.batch_rows > 1:  # both texts are drawn at once
        shares = tuple(number / (BETWEEN + 1) for number in range(BETWEEN + 2))
    found = []
    for share in shares:
        end = (first, last)[round(share)]
        if share in (0.0, 1.0) and end.image is not None:
            found.append(pipeline.codec.encode(_fitted(end.image, pipeline)))
        elif share in (0.0, 1.0):
            *_, codes = prior.stream(pipeline.read([end.text]), sampling, [seed])
            found.append(codes.unflatten(1, pipeline.codec.layout))
        else:
            # Two rows, one of each text, with the same codes: they choose by the same numbers.
            text = pipeline.read([first.text, last.text])
            mix: dict[str, Any] = {"processors": [mixed_logits(share)]}
            *_, codes = prior.stream(text, sampling, [seed, seed], **mix)
            found.append(codes[:1].unflatten(1, pipeline.codec.layout))
    return found


def mixed_logits(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a processor that gives all rows the logits `share` of the way between the first two.

    Codes are then likely that both texts speak for, by weight: a product of experts.
    """

    def between(codes: Tensor, logits: Tensor) -> Tensor:
        """Return logits (B, V) between those of the first two rows, the same for all."""
        return torch.lerp(logits[:1], logits[1:2], share).expand_as(logits)

    return between


def _fitted(image: Image, pipeline: Any) -> Tensor:
    """Return a picture (1, 3, size, size) for the model's codec, cut to a square."""
    if not pipeline.codec.encodes:
        raise UsageError(
            "a picture is given, but the codec of this model was kept to draw alone and reads "
            "none; give two prompts, or another model",
            param="image",
        )
    from PIL import ImageOps

    side = (pipeline.size, pipeline.size)
    return to_tensor([ImageOps.fit(image, side)]).to(pipeline.device)


class _TwoTexts:
    """A decoder that is told two texts at once: what it says of one mixed with what of the other.

    It stands for the decoder in `draw_picture`, which is told the first text (1, T).
    """

    def __init__(self, decoder: Any, texts: tuple[Tensor, Tensor], share: float) -> None:
        self.config, self.process = decoder.config, decoder.process
        self.decoder, self.texts, self.share = decoder, texts, share

    def __call__(self, x: Tensor, times: Tensor, **told: Tensor) -> Tensor:
        """Map noised pictures to what is predicted of them, as the decoder does."""
        one, other = self.texts
        if "text" not in told or self.share in (0.0, 1.0) or torch.equal(one, other):
            if "text" in told:
                told["text"] = _in_its_place(told["text"], (one, other)[round(self.share)])
            said: Tensor = self.decoder(x, times, **told)
            return said
        # Rows that are told a text come once more, with the other one: one pass for all.
        rows = (told["text"] != 0).any(1)
        width = max(one.shape[1], other.shape[1])
        one, other = (F.pad(each, (width - each.shape[1], 0)) for each in (one, other))
        told |= {"text": _in_its_place(told["text"], one)}
        more = {name: torch.cat([value, value[rows]]) for name, value in told.items()}
        more["text"][len(x) :] = other
        said = self.decoder(torch.cat([x, x[rows]]), torch.cat([times, times[rows]]), **more)
        mixed, others = said[: len(x)].clone(), said[len(x) :]
        mixed[rows] = torch.lerp(mixed[rows], others, self.share)
        return mixed


def _in_its_place(given: Tensor, text: Tensor) -> Tensor:
    """Return a text (1, T) in each row that was told one, and no text in the others."""
    told = (given != 0).any(1, keepdim=True)
    return torch.where(told, text.expand(len(given), -1), 0)


def _unclip_way(pipeline: UnClip, first: End, last: End, seed: int, sampling: Any) -> Way:
    """Turn from one vector of CLIP's space to the other, and mix what is said of both texts."""
    ends = (first, last)
    texts = (pipeline.read([first.text], trim=True), pipeline.read([last.text], trim=True))
    one, other = (
        pipeline.see(end.image)
        if end.image is not None
        else pipeline.vector_of(ids, seed, sampling)
        for end, ids in zip(ends, texts, strict=True)
    )

    said = told_by(pipeline, [first.text, last.text])

    def at(share: float) -> Tensor:
        """Return the picture (1, 3, H, W) at a share of the way."""
        inside = 0.0 < share < 1.0
        vector = pipeline.turn(one, other, share) if inside else (one, other)[round(share)]
        decoder = _TwoTexts(pipeline.decoder, texts, share)
        told = torch.ones_like(texts[0])  # that there is a text; the decoder knows which
        *_, step = pipeline.paint(decoder, vector, told, seed, sampling)
        image = pipeline.preview(step, _told(said, share))
        assert image is not None, "a sampler takes one step at least"
        return image

    return at


def _gan_way(pipeline: Gan, first: End, last: End, seed: int, sampling: Any) -> Way:
    """Turn from one condition to the other, with the same noise; raise UsageError for a picture."""
    if first.image is not None or last.image is not None:
        raise UsageError(
            "a picture is given, but a GAN draws from words and cannot read one; give two prompts, "
            "or a model of the family 'dalle' or 'unclip'",
            param="image",
        )
    generator = pipeline.generator
    noise, chance = drawn_noise(generator, [seed], sampling, pipeline.device)
    texts = [pipeline.read([end.text], trim=True) for end in (first, last)]
    one, other = (generator.conditioning(generator.sentence(ids), chance).drawn for ids in texts)

    said = told_by(pipeline, [first.text, last.text])

    def at(share: float) -> Tensor:
        """Return the picture (1, 3, H, W) at a share of the way."""
        inside = 0.0 < share < 1.0
        condition = sized(one, other, share) if inside else (one, other)[round(share)]
        drawn: Tensor = generator.draw(texts[0], condition, noise)
        if generator.reads_words:  # of one text or the other: both are drawn, and mixed
            drawn = torch.lerp(drawn, generator.draw(texts[1], condition, noise), share)
        told = _told(said, share)
        if pipeline.autoencoder is None or share in (0.0, 1.0):
            return pipeline.pixels(drawn, told)
        images: Tensor = pipeline.autoencoder.paint(drawn, told)  # no step from code to code
        return images

    return at


WAYS: Mapping[type[Any], Callable[..., Way]] = {
    Dalle: _dalle_way,
    UnClip: _unclip_way,
    Gan: _gan_way,
}
