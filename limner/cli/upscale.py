"""`limner upscale`: a picture in, the same one larger out."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from limner.cli.shared import files, options, progress
from limner.cli.shared.finishing import Weights
from limner.cli.shared.options import option
from limner.options import check_upscale

By = Annotated[int, option("--by", "Scale factor: 2 or 4.")]


def upscale(
    image: options.Image,
    by: By = 2,
    weights: Weights = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Upscale IMAGE with a super-resolution network."""
    check_upscale(by)
    place = files.Place.parse(out, 1, as_json=as_json)
    place.prepare()
    picture = files.open_picture(image)
    with progress.loading("upscale"):
        from limner.finish.upscale import opened_upscaler, upscale_image
        from limner.images import encode_png

        opened_upscaler(weights)  # a mistake in the weights is told at once
    began = time.perf_counter()
    large = upscale_image(picture, by, weights)
    seconds = time.perf_counter() - began
    name = "picture" if str(image) == files.STANDARD else image.stem
    path = place.write(f"{files.slug(name)}-x{by}.png", encode_png(large))
    progress.clock().pictures += 1
    progress.clock().timed = True
    if as_json:
        answer = {
            "path": str(path),
            "width": large.width,
            "height": large.height,
            "by": by,
            "weights": None if weights is None else str(weights),
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(answer, ensure_ascii=False))
    elif str(path) != files.STANDARD:
        typer.echo(str(path))
