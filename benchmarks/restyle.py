"""What `limner restyle` is worth: held-out scenes in another style, held to the true pictures.

    python benchmarks/restyle.py [MODEL] [--count 75] [--first 0] [--seed S] [--sheet FILE]
    python benchmarks/restyle.py --drawings FOLDER ...
    python benchmarks/restyle.py --rows PIECE.json PIECE.json ...

Scenes of one object, and pairs, in turn: the plain picture is given, and the scene generator draws
the same scene in each style. "copying" answers with what it was given. "filter" knows no words and
no things: dark edges on white for line art, 16 large pixels a side for pixel art, and for the
others what `--cut-out` finds, black or with a white border. "style" is how often the nearest of the
true pictures in all five styles (root mean square) is the one that was asked for; "edges" is F1 of
edges within a pixel; "features" the cosine of what EfficientNet-lite0 sees, about the mean of the
true pictures, where its weights are installed; "found" how often all things were read, under their
own nouns. With --drawings, the things are those of another hand: transparent PNG files named after
the nouns' emoji, as 1f431.png; the true pictures are made of them by the same styles. With --json
the rows are kept, so that a long run can be one of several pieces. Intervals are of scenes drawn
again (bootstrap).
"""

import argparse
import importlib.util
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torch.nn import functional as F

from limner.data.scenes.backgrounds import BACKGROUNDS, background
from limner.data.scenes.graph import Graph, sample_graph, scene_rng
from limner.data.scenes.nouns import nouns
from limner.data.scenes.scene import SINGLE, UNIT, render
from limner.data.scenes.sprites import EMOJI_STYLE, STYLES
from limner.errors import UsageError
from limner.evaluate.metrics.codec import psnr, ssim
from limner.evaluate.resampling import bootstrap_mean
from limner.finish.cutout import cut_out, grow_alpha
from limner.finish.filtering import filtered
from limner.images import grid, to_images, to_tensor
from limner.nn.efficientnet import PACKAGE, EfficientNetLite
from limner.nn.styles import CANVAS, restyle, sized
from limner.nn.things import Thing, lay
from limner.pipelines.restyling import decoder_of_things, paint_scene
from limner.pipelines.things import Scene, names_of, read_scene
from limner.registry import load_to_draw
from limner.train.losses import centred_cosine

LEVEL = 3  # single objects, counts and pairs, all plain
ASKED = STYLES[1:]
WAYS = ("copying", "filter", "limner")
KINDS = ("single", "pair")
EDGE = 0.12  # of a range of 1: so strong a step is an edge
BLOCKS, BORDER = 16, 10  # large pixels a side; parts of the side that a border is wide
Row = dict[str, Any]
Case = tuple[list[Image.Image], list[str], str]


def graphs(first: int, count: int, seed: int) -> Iterator[Graph]:
    """Yield held-out scenes of one object and of two in turn, from number `first` on."""
    wanted, number = 0, 0
    while wanted < first + count:
        graph = sample_graph("held_out", scene_rng("held_out", number, seed, LEVEL), LEVEL)
        number += 1
        if graph.kind == KINDS[wanted % 2]:
            if wanted >= first:
                yield graph
            wanted += 1


def scenes(args: argparse.Namespace) -> Iterator[Case]:
    """Yield scenes in all styles, the nouns in them, and of which kind they are."""
    for graph in graphs(args.first, args.count, args.seed):
        truth = [render(replace(graph, style=style), args.size) for style in STYLES]
        yield [*map(Image.fromarray, truth)], [each.noun for each in graph.things], graph.kind


def drawn_elsewhere(args: argparse.Namespace) -> Iterator[Case]:
    """Yield single things of other drawings on the backgrounds of scenes, as `scenes` does."""
    found = [(each, args.drawings / f"{code_of(each.emoji)}.png") for each in nouns()]
    chosen = [each for each in found if each[1].is_file()]
    random.Random(args.seed).shuffle(chosen)
    square = (SINGLE["normal"][0] / UNIT, SINGLE["normal"][1] / UNIT, SINGLE["normal"][2] / UNIT)
    thing = Thing((1, 1, 1), *square, 1.0, 1.0)
    for number, (noun, path) in enumerate(chosen[args.first : args.first + args.count]):
        with Image.open(path) as opened:
            pixels = torch.from_numpy(np.array(opened.convert("RGBA"))).permute(2, 0, 1) / 255
        drawing = torch.cat((pixels[:3] * pixels[3:], pixels[3:]))[None]
        ground = background(BACKGROUNDS[number * 7 % len(BACKGROUNDS)], args.size)
        truth = to_tensor([Image.fromarray(ground)] * len(STYLES))
        for picture, style in zip(truth, STYLES, strict=True):
            lay(picture, [thing], restyle(sized(drawing, CANVAS), style))
        yield to_images(truth), [noun.singular], "other drawings"


def code_of(emoji: str) -> str:
    """Return the code points of an emoji, as its file is called."""
    return "-".join(f"{ord(each):x}" for each in emoji if each != EMOJI_STYLE)


def plainly_filtered(picture: Image.Image, style: str) -> Image.Image:
    """Return a picture in a style by what an image editor has, the picture where that fails."""
    side = picture.width
    if style == "line art":
        edges = picture.convert("L").filter(ImageFilter.GaussianBlur(1.2))
        edges = edges.filter(ImageFilter.FIND_EDGES)
        lines = edges.point(lambda v: 255 - min(230, max(0, (v - 10) * 11))).convert("RGB")
        inner = lines.crop((2, 2, side - 2, side - 2))  # the filter draws a frame around
        return ImageOps.expand(inner, 2, "white")
    if style == "pixel art":
        small = picture.resize((BLOCKS, BLOCKS), Image.Resampling.BOX)
        return small.resize((side, side), Image.Resampling.NEAREST)
    try:
        thing = cut_out(picture)
    except UsageError:
        return picture
    alpha = thing.getchannel("A")
    if style == "silhouette":
        return Image.composite(Image.new("RGB", picture.size, (26, 26, 36)), picture, alpha)
    paper = Image.new("RGB", picture.size, "white")
    sheet = Image.composite(paper, picture, grow_alpha(alpha, side // BORDER // 2))
    return Image.composite(thing.convert("RGB"), sheet, alpha)


def edges_of(images: Tensor) -> Tensor:
    """Return where pictures (B, 3, H, W) in [-1, 1] have edges (B, 1, H, W), as 0 and 1."""
    grey = images.mean(1, keepdim=True) / 2
    across = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    down = F.pad((grey[..., 1:, :] - grey[..., :-1, :]).abs(), (0, 0, 0, 1))
    return (torch.maximum(across, down) > EDGE).float()


def edge_f1(images: Tensor, truth: Tensor) -> float:
    """Return F1 of the edges of a picture against the true ones, within a pixel."""
    found, true = edges_of(images), edges_of(truth)
    near_true, near_found = (F.max_pool2d(each, 3, 1, 1) for each in (true, found))
    precision = float((found * near_true).sum() / found.sum().clamp_min(1))
    recall = float((true * near_found).sum() / true.sum().clamp_min(1))
    return 2 * precision * recall / max(precision + recall, 1e-9)


def restyled(decoder: Any, scene: Scene, picture: Image.Image, style: str) -> Image.Image:
    """Return what the library answers; the picture itself where it finds no subject."""
    if scene.things:
        return to_images(paint_scene(decoder, scene, to_tensor([picture]), style).picture)[0]
    try:
        return filtered(picture, style)
    except UsageError:
        return picture


def measure(args: argparse.Namespace) -> list[Row]:
    """Restyle scenes, and return a row for each of them, each style and each way."""
    pipeline, rows, shown = load_to_draw(args.model), list[Row](), list[Image.Image]()
    network = EfficientNetLite.installed() if importlib.util.find_spec(PACKAGE) else None
    decoder = decoder_of_things(pipeline, ASKED[0])
    seen, true_seen = list[Tensor](), list[Tensor]()
    cases = (drawn_elsewhere if args.drawings else scenes)(args)
    for number, (pictures, named, kind) in enumerate(cases, args.first):
        truth = dict(zip(STYLES, pictures, strict=True))
        every, given = to_tensor(pictures), pictures[0]
        with torch.inference_mode():  # the picture is read once for all styles
            scene = read_scene(pipeline, decoder, every[:1])
        right = sorted(named) == sorted(names_of(pipeline.words, scene.things))
        for style in ASKED:
            made = restyled(decoder, scene, given, style)
            answers = dict(zip(WAYS, (given, plainly_filtered(given, style), made), strict=True))
            true = every[STYLES.index(style)][None]
            for way, image in answers.items():
                tensor = to_tensor([image])
                far = (every - tensor).square().mean((1, 2, 3))
                rows.append({
                    "way": way, "asked": style, "kind": kind, "scene": number,
                    "style": float(int(far.argmin()) == STYLES.index(style)),
                    "edges": edge_f1(tensor, true), "psnr": float(psnr(tensor, true)),
                    "ssim": float(ssim(tensor, true)),
                    "found": float(right),
                })  # fmt: skip
                if network is not None:
                    with torch.inference_mode():
                        seen.append(network.vectors(tensor))
                        true_seen.append(network.vectors(true) if way == WAYS[0] else true_seen[-1])
            shown += [given, answers["filter"], made, truth[style]]
    if network is not None:
        found, true = torch.cat(seen), torch.cat(true_seen)
        for row, cosine in zip(rows, centred_cosine(found, true), strict=True):
            row["features"] = float(cosine)
    if args.sheet:
        grid(shown[: 4 * 4 * args.shown], columns=16).save(args.sheet)
    return rows


def show(rows: list[Row]) -> None:
    """Print the means of rows, all together, then by style and by kind of scene."""
    figures = [name for name in rows[0] if name not in ("way", "asked", "kind", "scene")]
    print(f"| | {' | '.join(figures)} |\n|{' --- |' * (1 + len(figures))}")
    groups: dict[str, list[Row]] = defaultdict(list)
    for name in ("", "kind", "asked"):
        for row in rows:
            groups[f"{row['way']}{', ' + row[name] if name else ''}"].append(row)
    for name, those in groups.items():
        cells = []
        for figure in figures:
            # The styles of one scene are right or wrong together: a scene counts once.
            of_scenes: dict[int, list[float]] = defaultdict(list)
            for row in those:
                of_scenes[row["scene"]].append(row[figure])
            told = bootstrap_mean([sum(each) / len(each) for each in of_scenes.values()])
            cells.append(f"{told.value:.3f} ({told.interval('.3f')})")
        print(f"| {name} (n={len(those)}) | {' | '.join(cells)} |")


def main() -> None:
    """Measure, or read what was measured, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--count", type=int, default=75, help="scenes")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--seed", type=int, default=5, help="of the scenes")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--drawings", type=Path, help="transparent PNG files of other drawings")
    parser.add_argument("--sheet", type=Path, help="given, filter, limner and true, by style")
    parser.add_argument("--shown", type=int, default=12, help="scenes on the sheet")
    parser.add_argument("--json", type=Path, help="keep the rows")
    parser.add_argument("--rows", type=Path, nargs="+", help="rows of earlier pieces")
    args = parser.parse_args()
    if args.rows:
        rows = [row for each in args.rows for row in json.loads(each.read_text("utf-8"))]
    else:
        rows = measure(args)
    show(rows)
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
