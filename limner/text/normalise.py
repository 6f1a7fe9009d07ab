"""One spelling for every prompt: the first thing that happens to text that a stranger typed.

It knows nothing of any model: token limits are the tokenizer's business.
"""

import re
import unicodedata

from limner.errors import UsageError

PROMPT_LIMIT = 4000  # code points, before and after NFKC

_ZERO_WIDTH_JOINERS = "\u200c\u200d"  # emoji families and Persian need them, so they stay
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)

# Tag characters stay only where they spell the flag of a region; elsewhere they hide words.
_REMOVED = re.compile(
    "(\U0001f3f4[\U000e0020-\U000e007f]+)"
    "|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters that are not white space
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction controls
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # invisible
    "\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def normalise_prompt(text: object) -> str:
    """Return `text` in NFKC, on one line, without control or direction characters.

    At most 4,000 code points, counted before and after NFKC. Raises UsageError for anything but
    a string, for NUL, for lone surrogates, and for text in which nothing visible is left.
    It judges spelling only: it neither translates nor checks any policy.
    """
    if not isinstance(text, str):
        kind = type(text).__name__
        raise _refuse(f"the prompt is of type {kind}; give it as text (str)", "invalid_type")
    # Before and after: NFKC can make one character eighteen.
    _check_length(text, "")
    if "\x00" in text:
        at = text.index("\x00")
        raise _refuse(f"the prompt has a NUL character at position {at}; remove it", "invalid_nul")
    if lone := _SURROGATE.search(text):
        raise _refuse(
            f"the prompt has half of a surrogate pair (U+{ord(lone[0]):04X}) at position "
            f"{lone.start()}; give it as valid Unicode",
            "invalid_unicode",
        )
    clean = _REMOVED.sub(lambda match: match[1] or "", text)
    clean = " ".join(unicodedata.normalize("NFKC", clean).split())
    _check_length(clean, " after NFKC normalising")
    if not any(map(_is_visible, clean)):
        raise _refuse("the prompt is empty; say what to draw, such as 'a red apple'", "empty")
    return clean


def _check_length(text: str, when: str) -> None:
    if len(text) > PROMPT_LIMIT:
        raise _refuse(
            f"the prompt has {len(text)} code points{when}; the limit is {PROMPT_LIMIT}, "
            "so shorten it",
            "string_above_max_length",
        )


def _is_visible(character: str) -> bool:
    if character in _ZERO_WIDTH_JOINERS or ord(character) in _VARIATION_SELECTORS:
        return False
    return not character.isspace()


def _refuse(message: str, code: str) -> UsageError:
    return UsageError(message, param="prompt", code=code)
