"""`limner data clean`: which pictures of a source to keep, why the others go, and a clean copy.

Nothing of the source is changed or deleted. The same source and settings give the same bytes. It
cleans what can be seen without understanding: it does not know whether a caption is true.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.data.cleaning.survey import Survey
from limner.data.copies.copies import Likeness, find_exact_copies, group
from limner.data.sources import base, keep
from limner.errors import ConfigError, DataError, UsageError, quote
from limner.files.atomic import new_folder
from limner.html import figure, heading, page, paragraph, table, together
from limner.images import SIDE_LIMIT, encode_png
from limner.text.normalise import normalise_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

FITS = ("keep", "crop", "pad", "squash")
REASONS = {
    **base.CODES,
    "small": "a picture below the least side",
    "shape": "a picture longer than the most ratio of its sides",
    "filter": "a filter of the caller's said so",
    "exact_copy": "the same pixels as a picture that is kept",
    "near_copy": "nearly the same picture as one that is kept",
}
KEEP, DROP, PICTURES = "keep.txt", "drop.jsonl", "pictures"
REPORT, PAGE = "report.json", "report.html"
GROUPS, ROWS, MEMBERS = 200, 500, 12  # on the page at most; report.json and drop.jsonl have all

Filter = Callable[[base.Sample, "Image"], str | None]  # why to drop a sample, or None to keep it
CaptionRule = Callable[[str], str | None]  # the caption to use, or None to leave it out


@dataclass(frozen=True)
class CleanConfig:
    """What is kept and how it is written. Raises ConfigError for a wrong value."""

    # How a picture becomes `size` pixels square: by its middle (crop), with white beside it (pad),
    # squashed, or not at all (keep, with size 0).
    fit: str = "keep"
    size: int = 0
    least_side: int = 16  # pixels
    most_ratio: float = 0.0  # of the longer to the shorter side; 0 for any
    near: bool = True  # take out near copies, not only exact ones
    write: bool = False  # write the pictures that are kept as an image folder
    # Take out mirror images whatever their captions say; else only where both pictures have one
    # caption, and that names no sides.
    mirrors: bool = False

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ConfigError(f"fit is {quote(self.fit)}; choose one of {', '.join(FITS)}")
        if (self.fit == "keep") != (self.size == 0) or not 0 <= self.size <= SIDE_LIMIT:
            raise ConfigError(
                f"size is {self.size} with fit {self.fit}; give a size of 16 to {SIDE_LIMIT} "
                "pixels with crop, pad or squash, and none with keep"
            )
        if 0 < self.size < 16:
            raise ConfigError(f"size is {self.size}; at least 16 pixels are needed")
        if self.mirrors and not self.near:
            raise ConfigError(
                "mirrors is on and near is off, but mirror images are near copies; leave one out"
            )
        if self.least_side < 16:
            raise ConfigError(f"least_side is {self.least_side}; give at least 16 pixels")
        if self.most_ratio != 0 and not self.most_ratio >= 1:
            raise ConfigError(f"most_ratio is {self.most_ratio}; give 0, or at least 1")


@dataclass
class Verdicts:
    """What became of every sample of a source."""

    survey: Survey
    wheres: list[str] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of what is kept
    captions_changed: int = 0
    captions_left_out: int = 0
    captions_merged: int = 0
    groups: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, key: str, where: str, code: str, reason: str) -> None:
        """Note that a sample goes, and why."""
        self.counts[code] += 1
        self.dropped.append({"key": key, "where": where, "code": code, "reason": reason})


def normalise_caption(caption: str) -> str | None:
    """Return a caption as prompts are read (NFKC, one line, no control characters), or None."""
    try:
        return normalise_prompt(caption)
    except UsageError:
        return None


def clean(
    source: base.Source,
    out: Path,
    config: CleanConfig,
    *,
    filters: Sequence[Filter] = (),
    captions: CaptionRule = normalise_caption,
) -> Generator[tuple[str, int] | dict[str, Any], None, None]:
    """Yield (stage, pictures done) as the work goes on, and at last the report as JSON values.

    Writes the new folder `out`. Raises DataError when nothing is left to keep, UsageError and
    ResourceError for `out`.
    """
    with new_folder(out) as folder:
        # 1. Read everything once, and drop what one picture alone shows to be bad.
        found = Verdicts(Survey(source))
        for count, (sample, image) in enumerate(base.read_pictures(source, strict=False), 1):
            _judge(found, sample, image, config, filters, captions)
            yield "reading", count
        # 2. Copies: all pictures must have been seen.
        yield "comparing", len(found.survey)
        _drop_copies(found, config)
        if not found.captions:
            source.losses.check(0, source.place)
        # 3. What could not be read is dropped too, so that keep.txt and drop.jsonl have every
        # sample.
        for each in source.losses.samples:
            found.drop(each.key, each.where, each.code, each.reason)
        # 4. The pictures, read a second time: memory never holds them all.
        if config.write:
            for number in _write_pictures(found, folder / PICTURES, config):
                yield "writing", number
        report = _report(found, config)
        _write_lists(found, folder, report)
        yield report


def fit_picture(image: Image, config: CleanConfig) -> Image:
    """Return a picture as the config wants it: square, or as it is."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    size = (config.size, config.size)
    if config.fit == "crop":
        return ImageOps.fit(image, size, Resampling.LANCZOS)
    if config.fit == "pad":
        return ImageOps.pad(image, size, Resampling.LANCZOS, color="white")
    return image.resize(size, Resampling.LANCZOS) if config.fit == "squash" else image


def _judge(
    found: Verdicts,
    sample: base.Sample,
    image: Image,
    config: CleanConfig,
    filters: Sequence[Filter],
    rule: CaptionRule,
) -> None:
    texts = {text: rule(text) for text in sample.captions}
    kept = tuple(dict.fromkeys(text for text in texts.values() if text))
    shorter, longer = sorted(image.size)
    if shorter < config.least_side:
        code, reason = "small", f"{image.width} x {image.height} pixels"
    elif config.most_ratio and longer > config.most_ratio * shorter:
        code, reason = "shape", f"{image.width} x {image.height} pixels"
    elif not kept:
        code, reason = "bad_caption", "no caption is left after normalising"
    else:
        said = next(filter(None, (each(sample, image) for each in filters)), None)
        if said is None:
            found.captions_changed += sum(bool(new) and new != old for old, new in texts.items())
            found.captions_left_out += sum(not new for new in texts.values())
            found.captions[sample.key] = kept
            found.wheres.append(sample.where)
            found.survey.add(sample, image)
            return
        code, reason = "filter", said
    found.drop(sample.key, sample.where, code, reason)


def _drop_copies(found: Verdicts, config: CleanConfig) -> None:
    survey = found.survey
    looks = survey.looks
    likenesses = survey.find_copies(config.mirrors) if config.near else find_exact_copies(looks)
    near: dict[int, dict[int, Likeness]] = {}
    firsts: dict[int, int] = {}  # equal pictures are named with their first alone
    for each in likenesses:
        near.setdefault(each.first, {})[each.second] = each
        near.setdefault(each.second, {})[each.first] = each
        if each.how == "pixels":
            firsts[each.second] = each.first
    for members in group(len(survey), likenesses):
        # The largest is kept, of equal ones the first; so is what is like none that is kept: what
        # is joined through others alone may be as unlike as the ends of a chain.
        gone: dict[int, list[dict[str, Any]]] = {}
        for index in sorted(members, key=lambda row: -survey.sizes[row][0] * survey.sizes[row][1]):
            like = {**near[firsts.get(index, index)], **near[index]}
            kept = next((row for row in gone if row in like), None)
            if kept is None:
                gone[index] = []
            else:
                gone[kept].append(_drop_copy(found, index, kept, like[kept]))
        found.groups += [
            {"kept": survey.keys[kept], "dropped": rows} for kept, rows in gone.items() if rows
        ]


def _drop_copy(found: Verdicts, index: int, kept: int, likeness: Likeness) -> dict[str, Any]:
    survey = found.survey
    key, like = survey.keys[index], survey.keys[kept]
    captions = found.captions.pop(key)
    exact = survey.looks.digests[index] == survey.looks.digests[kept]
    if exact:  # a near copy may be a mirror image or lack a part, so its words may be wrong here
        merged = tuple(dict.fromkeys((*found.captions[like], *captions)))
        found.captions_merged += len(merged) - len(found.captions[like])
        found.captions[like] = merged
    code = "exact_copy" if exact else "near_copy"
    found.drop(key, found.wheres[index], code, f"a copy of {quote(like, 120)}")
    return {"key": key, "how": likeness.how, "mirrored": likeness.mirrored}


def _write_pictures(found: Verdicts, folder: Path, config: CleanConfig) -> Iterator[int]:
    """Write what is kept as an image folder, yielding how many are written."""
    folder.mkdir()
    several = any(len(each) > 1 for each in found.captions.values())
    lost = len(found.survey.source.losses)
    number = 0
    # The name of a file may hold half a surrogate pair, which UTF-8 cannot.
    with (folder / "metadata.jsonl").open("w", -1, "utf-8", "backslashreplace") as table:
        for sample, image in base.read_pictures(found.survey.source, strict=False):
            captions = found.captions.get(sample.key)
            if captions is None:
                continue
            name = f"{number:08d}.png"
            (folder / name).write_bytes(encode_png(fit_picture(image, config)))
            # One column has one type, or other readers of image folders refuse it.
            text = list(captions) if several else captions[0]
            row = {"file_name": name, "text": text, "source": sample.key}
            table.write(json.dumps(row, ensure_ascii=False) + "\n")
            number += 1
            yield number
    if len(found.survey.source.losses) != lost:
        raise DataError(
            f"the data changed: pictures of {quote(found.survey.source.place, 120)} that could be "
            "read before cannot now; clean it when nobody writes there"
        )


def _report(found: Verdicts, config: CleanConfig) -> dict[str, Any]:
    return {
        "source": found.survey.source.describe(),
        "settings": asdict(config),
        "read": len(found.captions) + len(found.dropped),
        "kept": len(found.captions),
        "dropped": {code: found.counts[code] for code in REASONS},
        "captions": {
            "kept": sum(map(len, found.captions.values())),
            "changed": found.captions_changed,
            "left_out": found.captions_left_out,
            "merged": found.captions_merged,
        },
        "groups": len(found.groups),
    }


def _write_lists(found: Verdicts, folder: Path, report: dict[str, Any]) -> None:
    (folder / REPORT).write_bytes(base.json_document({**report, "copies": found.groups}))
    keys = [key for key in found.survey.keys if key in found.captions]
    (folder / KEEP).write_bytes(keep.keep_lines(keys))
    (folder / DROP).write_bytes(base.json_lines(found.dropped))
    found.survey.source.losses.write(folder / base.BAD_SAMPLES)
    (folder / PAGE).write_bytes(_page(found, report).encode("utf-8", "backslashreplace"))


def _page(found: Verdicts, report: dict[str, Any]) -> str:
    """Return the report as HTML: what was dropped and why, groups of copies, each sample."""
    rows = {key: row for row, key in enumerate(found.survey.keys)}

    def shown(key: str, note: str = "") -> str:
        """Return a picture of the report."""
        return figure(found.survey.looks.show(rows[key]), key, note, chosen=not note)

    counts = [(meaning, found.counts[code]) for code, meaning in REASONS.items()]
    first = found.dropped[:ROWS]
    return page(
        f"limner data clean: {report['source']['place']}",
        [
            paragraph(
                f"{report['kept']} of {report['read']} samples are kept. Nothing was deleted."
            ),
            heading("Why samples are dropped"),
            table(("reason", "samples"), [each for each in counts if each[1]]),
            heading(f"{len(found.groups)} groups of copies"),
            paragraph("The outlined one is kept."),
            *(
                together(
                    shown(each["kept"]),
                    *(
                        shown(copy["key"], copy["how"] + ", mirrored" * copy["mirrored"])
                        for copy in each["dropped"][:MEMBERS]
                    ),
                )
                for each in found.groups[:GROUPS]
            ),
            heading(f"The first {len(first)} of {len(found.dropped)} dropped samples"),
            table(("sample", "reason"), [(each["key"], each["reason"]) for each in first]),
        ],
    )
