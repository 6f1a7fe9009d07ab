"""The options of what is done to drawn pictures: a group that commands take whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.options import Finish

Upscale = Annotated[
    int | None,
    typer.Option(
        "--upscale",
        show_default="as drawn",
        help="Upscale 2 or 4 times with a super-resolution network.",
        metavar="N",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--upscale-weights", metavar="FILE", show_default="limner's own",
        help="Another upscaling network: a run, or .param of realesr-animevideov3-x4.",
    ),
]  # fmt: skip
CutOut = Annotated[bool, typer.Option("--cut-out", help="Make a plain background transparent.")]
Palette = Annotated[
    str | None,
    typer.Option(
        "--palette", metavar="COLOURS", show_default="all colours",
        help="Use only these colours, such as #112233,#ffcc00.",
    ),
]  # fmt: skip
Dither = Annotated[
    bool, typer.Option("--dither", help="Dither: mix the colours of --palette in a pattern.")
]
Sticker = Annotated[
    bool, typer.Option("--sticker", help="Cut out the object, with a white border around it.")
]


@dataclass(frozen=True)
class Finished:
    """What is done to drawn pictures, as options say it."""

    upscale: Upscale = None
    upscale_weights: Weights = None
    cut_out: CutOut = False
    palette: Palette = None
    dither: Dither = False
    sticker: Sticker = False

    @property
    def finish(self) -> Finish:
        """The steps as the library takes them; UsageError for a wrong value."""
        weights = None if self.upscale_weights is None else str(self.upscale_weights)
        # "" is a palette too, one without a colour, and not the same as none.
        palette: Any = () if self.palette is None else (self.palette.split(",") or ("",))
        return Finish(self.upscale, weights, self.cut_out, palette, self.dither, self.sticker)


def spelt_finish(finish: Finish) -> list[str]:
    """Return the words of a command line that ask for these steps."""
    words = []
    if finish.upscale is not None:
        words += ["--upscale", str(finish.upscale)]
    if finish.upscale_weights is not None:
        words += ["--upscale-weights", finish.upscale_weights]
    if finish.palette:
        words += ["--palette", ",".join(finish.palette)]
    flags = {"--cut-out": finish.cut_out, "--dither": finish.dither, "--sticker": finish.sticker}
    return words + [name for name, wanted in flags.items() if wanted]
