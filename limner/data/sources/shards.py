"""WebDataset shards: tar files whose members of one stem make one sample.

The last suffix of a member says what it is, so that `photo.0.png` goes with `photo.0.txt`; where a
name up to its first dot has one picture and one caption, these go together too (`1.input.jpg` with
`1.outputs.txt`). Only pictures, .txt and .json are ever read; a pickle in a shard stays bytes that
nobody opens, and nothing is unpacked. What a shard says of itself is limited before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Self

from limner.data.sources import caption_text, folders
from limner.data.sources.base import IndexedSource, Losses, Sample, Source
from limner.errors import DataError, ImageError, quote

MEMBERS_LIMIT = 1_000_000
MEMBER_LIMIT = 64 * 2**20  # bytes
SHARDS_LIMIT = 100_000
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_HEADER_LIMIT = 2**20
# URLError is an OSError; a chain of a thousand headers, each for the next, ends in RecursionError.
_DAMAGE = (tarfile.TarError, OSError, ValueError, RecursionError)
_KEYS_AT_ONCE = 16  # under one name up to its first dot
_KNOWN = {*folders.PICTURES, *folders.OTHER_PICTURES, *caption_text.TEXTS, ".json"}
PART = "pictures and captions that are further parts of a sample"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


class GuardedTarInfo(tarfile.TarInfo):
    """A member's header; a damaged or a huge one ends the reading, where tarfile would go on."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in 512 bytes; raises ReadError when it cannot be believed."""
        try:
            member = super().frombuf(buf, encoding, errors)
        # These end an archive as they should.
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            # tarfile takes a damaged header after the first for the end of the archive.
            raise tarfile.ReadError(f"damaged header ({error})") from error
        # It also reads a header that announces gigabytes of file name in full.
        if member.size < 0 or (member.type in _HEADERS and member.size > _HEADER_LIMIT):
            raise tarfile.ReadError(f"a header claims {member.size} bytes")
        return member


@dataclass(slots=True)
class Parts:
    """What a shard has under one key, while its members pass."""

    key: str
    pictures: list[tuple[str, int, int]] = field(default_factory=list)  # name, offset, size
    contents: bytes | None = None  # of the picture, where the shard can be read only once
    texts: dict[str, bytes] = field(default_factory=dict)  # by the members' names
    metadata: bytes | None = None
    other: str | None = None  # a picture in a format that limner does not read

    @property
    def captioned(self) -> bool:
        """Whether there is anything that may hold captions."""
        return bool(self.texts) or self.metadata is not None


class WebDatasetSource(IndexedSource):
    """Tar shards on this machine; their headers and captions are read once, before anything."""

    kind = "webdataset"

    def __init__(self, shards: list[Path], place: str) -> None:
        losses = Losses()
        named = zip(shards, _names_of(shards), strict=True)
        parts = [(str(shard), name, partial(_open_shard, shard)) for shard, name in named]
        super().__init__(place, losses, list(_samples(parts, losses)))


class RemoteSource(Source):
    """Tar shards behind http or https, read as they come; each passes once an iteration."""

    kind = "webdataset"

    def __init__(self, addresses: list[str], place: str) -> None:
        names = "\n".join(addresses)
        super().__init__(place, Losses(), hashlib.sha256(names.encode()).hexdigest(), None)
        self.addresses = addresses

    def __iter__(self) -> Iterator[Sample]:
        from urllib.request import urlopen

        parts = [
            (address, PurePosixPath(address).name, partial(urlopen, address, timeout=60))
            for address in self.addresses
        ]
        return _samples(parts, self.losses, keep=True)


def _samples(
    shards: Iterable[tuple[str, str, Callable[[], AbstractContextManager[IO[bytes]]]]],
    losses: Losses,
    *,
    keep: bool = False,
) -> Iterator[Sample]:
    """Yield the samples of shards (place, name, how to open it); `keep` as in `read_shard`."""
    keys: set[str] = set()
    passed: list[tuple[int, bool]] = []  # samples of each shard, and whether it is whole
    for shard, name, opened in shards:
        count, whole = 0, True
        try:
            with opened() as file:
                for parts in read_shard(file, shard, losses, keep=keep):
                    sample = _sample_of(shard, name, parts, losses)
                    if sample and is_new(sample, keys, losses):
                        count += 1
                        yield sample
        except _DAMAGE as error:
            # What came before the damage is used; the rest of the shard is lost as a whole.
            reason = f"{quote(shard, 160)} is damaged or no plain tar file: {error}"
            losses.add(PurePosixPath(shard).name, shard, "bad_archive", reason)
            whole = False
        passed.append((count, whole))
    losses.hidden = _estimate_hidden(passed)


def is_new(sample: Sample, keys: set[str], losses: Losses) -> bool:
    """Say whether no sample before had this key, and remember it; note it where one had."""
    if sample.key in keys:
        reason = f"{quote(sample.where, 200)} comes a second time; give shards names of their own"
        losses.add(sample.key, f"{sample.where} again", "bad_archive", reason)
        return False
    keys.add(sample.key)
    return True


def expand(pattern: str) -> list[str]:
    """Return the names that {00..12} and {a,b} in a pattern stand for, in their order."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    if found[3] is None:
        first, last = int(found[1]), int(found[2])
        if abs(last - first) >= SHARDS_LIMIT:
            raise DataError(f"{quote(pattern, 160)} names more than {SHARDS_LIMIT} shards")
        # Numbers that begin with 0 are padded, as a shell does it.
        width = max(len(found[1]), len(found[2])) if found[1][0] == "0" else 0
        step = 1 if last >= first else -1
        words = [f"{number:0{width}d}" for number in range(first, last + step, step)]
    else:
        words = found[3].split(",")
    before, after = pattern[: found.start()], expand(pattern[found.end() :])
    names = [before + word + end for word in words for end in after]
    if len(names) > SHARDS_LIMIT:
        raise DataError(f"{quote(pattern, 160)} names more than {SHARDS_LIMIT} shards")
    return names


def read_shard(
    file: IO[bytes], shard: str, losses: Losses, *, keep: bool = False
) -> Iterator[Parts]:
    """Yield what a tar has under each key, its members in their order; `keep` reads pictures too.

    Raises tarfile.TarError when the shard is damaged; what came before has been yielded.
    """
    pending: dict[str, Parts] = {}
    name = ""
    with tarfile.open(fileobj=file, mode="r|" if keep else "r:", tarinfo=GuardedTarInfo) as tar:
        for member in _members(tar, shard, losses):
            path = PurePosixPath(member.name)
            suffix = path.suffix.lower()
            if suffix not in _KNOWN:
                continue
            # 1. Members of one sample follow one another; all begin alike up to their first dot.
            begun = str(path.with_name(path.name.partition(".")[0]))
            # 2. Another beginning: what was gathered is whole.
            if begun != name:
                yield from _settle(name, pending, losses)
                name, pending = begun, {}
            parts = pending.setdefault(key := str(path.with_suffix("")), Parts(key))
            # 3. A shard whose names all begin alike must not be gathered in memory.
            if len(pending) > _KEYS_AT_ONCE:
                yield pending.pop(next(iter(pending)))
            # 4. Of a picture its place, or its bytes where the shard passes only once.
            if suffix in folders.PICTURES:
                parts.pictures.append((member.name, member.offset_data, member.size))
                parts.contents = _read_member(tar, member) if keep else None
            elif suffix in caption_text.TEXTS:
                parts.texts[member.name] = _read_member(tar, member, caption_text.FILE_LIMIT)
            elif suffix == ".json":
                parts.metadata = _read_member(tar, member, caption_text.FILE_LIMIT)
            else:
                parts.other = member.name
    yield from _settle(name, pending, losses)


def _members(tar: tarfile.TarFile, shard: str, losses: Losses) -> Iterator[tarfile.TarInfo]:
    """Yield the regular members that may be opened and are not hidden."""
    count = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # else all stay in memory
        count += 1
        if count > MEMBERS_LIMIT:
            raise tarfile.ReadError(f"more than {MEMBERS_LIMIT} members")
        if member.isdir() or _is_unsafe(member, shard, losses):
            continue
        if not any(map(folders.is_hidden, PurePosixPath(member.name).parts)):
            yield member


def _settle(name: str, pending: dict[str, Parts], losses: Losses) -> Iterator[Parts]:
    """Yield what a shard has under one name up to its first dot: one sample, or several."""
    halves = [each for each in pending.values() if not (each.pictures and each.captioned)]
    # Beside the sample of just this name, such as 000, what has no other half is a part of it, such
    # as 000.mask.png.
    whole = pending.get(name)
    if whole is not None and whole not in halves:
        for each in halves:
            for member in (*(picture for picture, _, _ in each.pictures), *each.texts):
                losses.pass_over(PART, member)
        halves = []
    # One picture and one caption that are left belong together: 1.input.jpg, 1.outputs.txt.
    pictures = [each for each in halves if each.pictures]
    captions = [each for each in halves if each.captioned]
    if len(pictures) == len(captions) == 1:
        pictures[0].texts, pictures[0].metadata = captions[0].texts, captions[0].metadata
        halves = pictures
    for parts in pending.values():
        if parts in halves or (parts.pictures and parts.captioned):
            yield parts


def _is_unsafe(member: tarfile.TarInfo, shard: str, losses: Losses) -> bool:
    reason = ""
    if not folders.is_inside(member.name):
        reason = "is a name that leads out of the archive"
    elif not member.isreg():
        reason = "is a link or a device; only regular files are read"
    elif member.issparse():
        reason = "is a sparse file; only plain ones are read"
    elif not 0 <= member.size <= MEMBER_LIMIT:
        reason = f"has {member.size} bytes; at most {MEMBER_LIMIT // 2**20} MiB are read"
    if reason:
        where = f"{shard}: {member.name}"
        losses.add(member.name, where, "unsafe", f"{quote(where, 200)} {reason}")
    return bool(reason)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, limit: int = MEMBER_LIMIT) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read(limit + 1)


def _names_of(shards: list[Path]) -> list[str]:
    """Return a name for each shard: its file's, and as much of its path as tells it from others."""
    for depth in range(1, 20):
        names = ["/".join(shard.parts[-depth:]) for shard in shards]
        if len(set(names)) == len(set(shards)):
            break
    return names


def _sample_of(shard: str, shard_name: str, parts: Parts, losses: Losses) -> Sample | None:
    """Return a key's sample, or None when it is noted as bad or has nothing to do with pictures."""
    name = parts.pictures[0][0] if parts.pictures else parts.other or parts.key
    where, key = f"{shard}: {name}", f"{shard_name}/{name}"
    if len(parts.pictures) > 1:
        names = ", ".join(quote(name) for name, _, _ in parts.pictures[:4])
        raise DataError(
            f"{quote(shard, 160)} has several pictures under one key, and one caption cannot be "
            f"for all; keep one of each: {names}"
        )
    if parts.other is not None:
        where = f"{shard}: {parts.other}"
        reason = f"{quote(where, 200)} is not a picture that limner reads; give PNG, JPEG or WebP"
        if not parts.pictures:
            losses.add(key, where, "bad_picture", reason)
            return None
        losses.pass_over(PART, parts.other)
    if not parts.captioned:
        if parts.pictures:
            losses.add(key, where, "no_caption", f"{quote(where, 200)} has no .txt or .json")
        return None
    try:
        captions = _captions(parts, losses)
    except DataError as error:
        reason = f"{quote(where, 200)}: {error}"
        losses.add(key, where, error.code or "bad_caption", reason)
        return None
    if not parts.pictures:
        losses.add(key, where, "no_picture", f"{quote(where, 200)} has a caption and no picture")
        return None
    _, offset, size = parts.pictures[0]
    if parts.contents is None:  # the shard is a file, where the picture can be read again
        return Sample(key, captions, where, partial(_read_part, Path(shard), offset, size), size)
    return Sample(key, captions, where, partial(bytes, parts.contents), size)


def _captions(parts: Parts, losses: Losses) -> tuple[str, ...]:
    if parts.texts:
        return caption_text.decode_caption_file(
            parts.texts[caption_text.first_text(list(parts.texts), losses.pass_over)]
        )
    try:
        values = json.loads((parts.metadata or b"").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"the .json cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise DataError("the .json is no object with a caption in it")
    return caption_text.captions_of(values, losses.pass_over)


@contextmanager
def _open_shard(shard: Path) -> Iterator[BufferedReader]:
    if not shard.is_file():  # a pipe would be waited on for ever
        raise OSError("no such file")
    with shard.open("rb") as file:
        yield file


def _read_part(shard: Path, offset: int, size: int) -> bytes:
    try:
        with shard.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise ImageError(f"cannot read {quote(str(shard), 200)}: {error.strerror}") from error


def _estimate_hidden(shards: list[tuple[int, bool]]) -> int:
    """Return about how many samples damaged shards hid, beside the one already noted for each."""
    # A damaged shard is taken to hold as many as the whole ones do on average.
    whole = [count for count, good in shards if good]
    mean = round(sum(whole) / len(whole)) if whole else 0
    return sum(max(mean - count - 1, 0) for count, good in shards if not good)
