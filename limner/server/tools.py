"""What an agent can ask limner for, whatever speaks with it: pictures, words, what the model is.

Each method of `Tools` is a tool: its name, its docstring and its arguments are what an agent sees.
Answers are texts, with small pictures beside them. Pictures go to one folder that the person who
serves has chosen; no request names a place to write to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner import registry
from limner.draw import draw_request
from limner.editing import edit
from limner.errors import ResourceError, UsageError, quote
from limner.files.atomic import write_new
from limner.finish.provenance.saving import Saving
from limner.registry import load_to_draw
from limner.types import Request

if TYPE_CHECKING:
    from limner.types import Drawable, Picture

NAMES = ("generate_image", "edit_image", "describe_model", "list_words")
MOST = 10  # pictures of one request
INLINE = 256  # pixels a side: larger pictures are named by their paths alone
_WORDS = 400  # at most so many are listed


@dataclass(frozen=True)
class Answer:
    """What a tool says: a text, and PNG files of pictures that are small."""

    text: str
    pictures: tuple[bytes, ...] = ()


class Tools:
    """The tools of one model, which is loaded at the first picture; one is drawn at a time.

    `check` raises for a prompt that is refused, `watch` for pictures, and returns what it is unsure
    of. Every method raises LimnerError.
    """

    def __init__(
        self,
        model: str,
        out: Path,
        *,
        saving: Saving | None = None,
        check: Callable[[str], None] | None = None,
        watch: Callable[[Sequence[Picture]], list[str]] | None = None,
    ) -> None:
        self.model = model
        self.out = out.absolute()
        self.saving = saving or Saving()
        self.check = check or (lambda prompt: None)
        self.watch = watch or (lambda pictures: [])
        self._pipeline: Drawable | None = None
        self._drawing = threading.Lock()

    def generate_image(
        self, prompt: str, n: int = 1, seed: int | None = None, guidance: float | None = None
    ) -> Answer:
        """Draw n pictures (1 to 10) of an English or Chinese prompt; say where the files are.

        The model draws only what it was trained on: ask describe_model and list_words. The same
        prompt and seed give the same picture; without a seed one is chosen by chance. Notes say
        what of the prompt was left out.
        """
        if not 1 <= n <= MOST:
            raise UsageError(f"n is {n}; expected a whole number from 1 to {MOST}", param="n")
        request = Request(prompt, n=n, seed=seed, guidance=guidance)  # type: ignore[arg-type]
        self.check(request.prompt)
        with self._drawing:
            drawn = draw_request(self._loaded(), request).pictures
            unsure = self.watch(drawn)
        return self._written(drawn, [*map(str, drawn[0].notes), *unsure])

    def edit_image(
        self, image: str, prompt: str, mask: str | None = None, seed: int | None = None
    ) -> Answer:
        """Redraw a part of a picture so that the whole shows a prompt; the rest stays as it is.

        image is the path of a PNG, JPEG or WebP file on this machine. mask says which part: the
        path of a picture of the same size that is white or transparent there, a box "x,y,w,h" in
        pixels, or "object:WORD", such as "object:dog". Without a mask it is the half of the picture
        that suits the prompt least.
        """
        self.check(prompt)
        with self._drawing:
            drawn = edit(image, prompt, mask, model=self._loaded(), seed=seed)
            unsure = self.watch(drawn)
        return self._written(drawn, [*map(str, drawn[0].notes), *unsure])

    def describe_model(self) -> Answer:
        """Say which model draws, how large its pictures are, and what it was taught to draw."""
        told = registry.details(self.model)
        try:
            kinds = registry.words_of(self.model).by_kind()
            known = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
        except UsageError:  # of before the table of words
            known = "words that its folder does not say"
        return Answer(
            f"{told['name']}: a model of the family {told['family']}, licence {told['licence']}; "
            f"pictures are {told['size']} x {told['size']} pixels. It knows {known}; list_words "
            "shows them. Prompts are English or Chinese; what it does not know is left out, and "
            f"notes say so. Pictures are written to {self.out}."
        )

    def list_words(self, search: str = "") -> Answer:
        """List the words that the model can be asked for: by kind, or those with some letters."""
        words = registry.words_of(self.model)
        if not search.strip():
            kinds = words.by_kind()
            return Answer("\n".join(f"{kind}: {', '.join(kinds[kind][:_WORDS])}" for kind in kinds))
        found = words.search(search)[:_WORDS]
        if not found:
            raise UsageError(
                f"no word of {quote(self.model)} contains {quote(search)}; try fewer letters"
            )
        return Answer(", ".join(found))

    def _loaded(self) -> Drawable:
        if self._pipeline is None:
            self._pipeline = load_to_draw(self.model)
        return self._pipeline

    def _written(self, drawn: Sequence[Picture], notes: Sequence[str]) -> Answer:
        """Write pictures, and say where they are."""
        lines, small = list[str](), list[bytes]()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"cannot write in {quote(str(self.out), 200)}: {error.strerror}; give another "
                "folder with --out"
            ) from error
        for picture in drawn:
            data = picture.to_png(**vars(self.saving))
            path = write_new(self.out / f"limner-{picture.seed}.png", data)
            width, height = picture.image.size
            lines.append(f"{path}: seed {picture.seed}, {width} x {height} pixels")
            if max(width, height) <= INLINE:
                small.append(data)
        first = drawn[0]
        if first.revised_prompt != first.prompt:
            lines.append(f"drew: {first.revised_prompt}")
        return Answer("\n".join([*lines, *(f"note: {each}" for each in notes)]), tuple(small))
