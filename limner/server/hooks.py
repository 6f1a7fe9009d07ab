"""What a server asks before it draws and before it answers: functions of somebody else's.

They fail closed: where one cannot say yes, nothing is drawn or sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limner.errors import PolicyError
from limner.server.errors import ApiError, unavailable
from limner.server.languages import Translate

if TYPE_CHECKING:
    from PIL.Image import Image

# A prompt; PolicyError refuses it, its `code` naming the category.
PromptCheck = Callable[[str], None]
# A picture as it was drawn or previewed; what it returns is sent in its place, PolicyError refuses.
PictureHook = Callable[["Image"], "Image"]
# The bytes of a file and its format ("png", "jpeg", "webp"); what it returns is sent.
FileHook = Callable[[bytes, str], bytes]
# The bytes of a file; the `results` of a content provenance check.
ProvenanceCheck = Callable[[bytes], list[Mapping[str, Any]]]


@dataclass
class Hooks:
    """The functions, each list in its order; empty lists let all pass."""

    prompts: list[PromptCheck] = field(default_factory=list)
    pictures: list[PictureHook] = field(default_factory=list)
    files: list[FileHook] = field(default_factory=list)
    provenance: ProvenanceCheck | None = None
    translate: Translate | None = None  # errors, for clients that ask for Chinese

    def check_prompt(self, prompt: str) -> None:
        """Raise PolicyError where a check refuses, 503 where one cannot say."""
        for check in self.prompts:
            _ask(check, prompt)

    def pass_picture(self, image: Image) -> Image:
        """Return the picture that may be sent; errors as `check_prompt`."""
        for hook in self.pictures:
            image = _given(_ask(hook, image))
        return image

    def pass_file(self, data: bytes, kind: str) -> bytes:
        """Return the bytes of the file that may be sent; errors as `check_prompt`."""
        for hook in self.files:
            data = _given(_ask(hook, data, kind))
        return data


def _ask(hook: Callable[..., Any], *given: Any) -> Any:
    try:
        return hook(*given)
    except PolicyError:
        raise
    except Exception as error:  # whatever went wrong: no answer is no
        raise silent() from error


def _given(answer: Any) -> Any:
    if answer is None:  # a hook that forgot to say what may be sent
        raise silent()
    return answer


def silent() -> ApiError:
    """Return the 503 of a check that does not answer."""
    return unavailable("the safety check gave no answer, so nothing is drawn", "safety_unavailable")
