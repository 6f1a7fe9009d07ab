"""Where pictures of the command line go: names made from prompts, never over an older file."""

from __future__ import annotations

import errno
import os
import secrets
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from limner.errors import DataError, ResourceError, UsageError, quote
from limner.files.atomic import write_new

if TYPE_CHECKING:
    from PIL.Image import Image

STANDARD = "-"  # in place of a path: standard input, or standard output
PROMPTS_LIMIT = 10 * 2**20  # bytes
_NAME_CHARACTERS = 60
_NAME_BYTES = 150  # file systems allow 255 for the whole name
_OTHER_FORMATS = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg"}


@dataclass(frozen=True)
class Place:
    """A folder for pictures, or with `file` the one file that a single picture goes to.

    With `standard` that picture goes to standard output.
    """

    folder: Path
    file: str | None = None
    standard: bool = False

    @classmethod
    def parse(
        cls,
        out: Path | None,
        pictures: int,
        *,
        as_json: bool = False,
        endings: tuple[str, ...] = (".png",),
    ) -> Place:
        """Read `--out`: a name with one of `endings` is a file, - standard output, else a folder.

        Raises UsageError for other picture formats, for one file but several pictures, and for a
        standard output that is a terminal or is `as_json` the answer's.
        """
        if out is None:
            return cls(Path())
        if str(out) == STANDARD:
            return cls._standard(pictures, as_json)
        suffix = out.suffix.lower()
        if os.path.isdir(out):  # even one whose name ends in .png
            return cls(out)
        if suffix in _OTHER_FORMATS and suffix not in endings:
            if len(endings) > 1:
                raise UsageError(
                    f"--out {quote(str(out), 200)}: animations are GIF, PNG, WebP or MP4; end the "
                    f"name in {', '.join(endings)}"
                )
            raise UsageError(
                f"--out {quote(str(out), 200)}: pictures are PNG; end the name in .png"
            )
        if suffix not in endings:
            return cls(out)
        if pictures != 1:
            raise UsageError(
                f"--out {quote(str(out), 200)} is one file, but {pictures} pictures are asked for; "
                "give a folder"
            )
        return cls(out.parent, out.name)  # one picture under the name that was asked for

    @classmethod
    def _standard(cls, pictures: int, as_json: bool) -> Place:
        if pictures != 1:
            raise UsageError(
                f"--out - is standard output and takes one picture, but {pictures} are asked for; "
                "give a folder"
            )
        if as_json:
            raise UsageError("--out - and --json both write to standard output; give one of them")
        if sys.stdout.isatty():
            raise UsageError(
                "--out - would write a picture's bytes into the terminal; send them on with > or |"
            )
        return cls(Path(), standard=True)

    def prepare(self) -> None:
        """Try to write where the pictures will go, before any model is loaded; leave no trace.

        Raises UsageError when a file is in the way, ResourceError when the system refuses.
        """
        if self.standard:
            return
        shown = quote(str(self.folder), 200)
        try:
            probe = _nearest_existing(self.folder) / f".limner-{secrets.token_hex(8)}.tmp"
            probe.touch(exist_ok=False)  # permissions alone do not tell
            probe.unlink()
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"--out {shown}: a file is in the way; give a folder") from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
                raise UsageError(f"--out {shown}: {error.strerror}; give another folder") from error
            raise self._refused(error) from error

    def write(self, name: str, png: bytes) -> Path:
        """Write a picture under `name`, or under the file name the user chose; return its path.

        Makes the folder when it is not there. The path of standard output is "-". Raises
        ResourceError.
        """
        if self.standard:
            _print_bytes(png)
            return Path(STANDARD)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        return write_new(self.folder / (self.file or name), png)  # with a number, where it is taken

    def _refused(self, error: OSError) -> ResourceError:
        shown = quote(str(self.folder), 200)
        return ResourceError(
            f"cannot write in {shown}: {error.strerror}; give another folder with --out"
        )


def _print_bytes(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # nobody reads on: no mistake of the person
    except OSError as error:
        raise ResourceError(
            f"cannot write the picture to standard output: {error.strerror}; give another --out"
        ) from error


def _nearest_existing(folder: Path) -> Path:
    while True:
        try:
            folder.lstat()
            return folder
        except FileNotFoundError:
            folder = folder.parent  # of what is to be made


def slug(prompt: str) -> str:
    """Return a file name's stem for a prompt: letters and digits of any language, joined by '-'."""
    kept = (
        each if unicodedata.category(each)[0] in "LMN" else " "
        for each in unicodedata.normalize("NFC", prompt[: 4 * _NAME_CHARACTERS].lower())
    )
    stem = "-".join("".join(kept).split())  # no path, no dot, no blank in it
    if len(stem) > _NAME_CHARACTERS:  # the seed and an ending follow
        whole = stem[: _NAME_CHARACTERS + 1].rpartition("-")[0]  # not in the middle of a word
        stem = whole or stem[:_NAME_CHARACTERS]
    return os.fsencode(stem)[:_NAME_BYTES].decode("utf-8", "ignore").strip("-") or "picture"


def no_stream(place: str) -> UsageError:
    """Return the error of a "-" where neither standard input nor output is used."""
    return UsageError(
        f"{place} is '-', and standard input or output cannot stand there; give a path, and ./- "
        "for a file of that name"
    )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, or standard input for -; OSError as it comes."""
    if str(path) == STANDARD:
        yield sys.stdin.buffer
    else:
        with path.open("rb") as file:
            yield file


def open_picture(path: Path) -> Image:
    """Return the picture in a file, or from standard input for -, as `images.open_image` does."""
    from limner.images import BYTES_LIMIT, decode_image, open_image

    if str(path) != STANDARD:
        return open_image(path)
    return decode_image(sys.stdin.buffer.read(BYTES_LIMIT + 1), "standard input")


def read_standard() -> str:
    """Return the UTF-8 text of standard input, of at most 10 MiB; DataError for what is none."""
    return _text(Path(STANDARD))


def read_prompts(path: Path) -> list[tuple[int, str]]:
    """Return (line number, text) of every line of a UTF-8 file that is not blank; - is stdin.

    Raises DataError, with the byte offset, for what is not UTF-8 text, and over 10 MiB.
    """
    lines = _text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{_name(path)} holds no prompt; write one on each line")
    return found


def _text(path: Path) -> str:
    """Return the text of a file or of standard input, without a byte order mark."""
    name = _name(path)
    try:
        with opened(path) as file:
            data = file.read(PROMPTS_LIMIT + 1)
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}") from error
    if len(data) > PROMPTS_LIMIT:
        raise DataError(f"{name} is larger than {PROMPTS_LIMIT // 2**20} MiB; give a smaller file")
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 at byte offset {error.start}; save it as UTF-8"
        ) from error
    if (at := data.find(0)) >= 0:  # as in UTF-16, which may pass as UTF-8
        raise DataError(f"{name} has a NUL at byte offset {at}; save it as UTF-8 text")
    return text


def _name(path: Path) -> str:
    return "standard input" if str(path) == STANDARD else quote(str(path), 200)
