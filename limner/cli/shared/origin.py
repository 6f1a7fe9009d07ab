"""Options of commands that draw: what a file says of its origin, and what may be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.finish.provenance.label import LABELS
from limner.finish.provenance.saving import Saving

if TYPE_CHECKING:
    from limner.types import Picture


def _labels() -> list[str]:
    """Return what a shell offers for --label."""
    return list(LABELS)


Xmp = Annotated[
    bool,
    typer.Option(
        "--xmp/--no-xmp", envvar="LIMNER_XMP",
        help="Say in the file's XMP that a trained model made the picture.",
    ),
]  # fmt: skip
Mark = Annotated[
    bool | None,
    typer.Option(
        "--mark/--no-mark", envvar="LIMNER_MARK",
        show_default="true, except for edits and palettes",
        help="Put an invisible watermark into the pixels; limner verify detects it.",
    ),
]  # fmt: skip
Label = Annotated[
    str | None,
    typer.Option(
        "--label", envvar="LIMNER_LABEL", autocompletion=_labels,
        help="Label pictures as required by law: gb45438[:PRODUCER] (China), in the file and "
        "visibly.",
    ),
]  # fmt: skip
Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign", envvar="LIMNER_SIGN",
        help="Sign a C2PA manifest with the key and certificates of a PEM file; needs the extra "
        "c2pa.",
    ),
]  # fmt: skip
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy", envvar="LIMNER_POLICY",
        help="Prompt policy that replaces limner's own: a TOML file of refused terms.",
    ),
]  # fmt: skip
NoPolicy = Annotated[bool, typer.Option("--no-policy", help="Do not check prompts.")]

Classified = Annotated[
    bool,
    typer.Option(
        "--classifier/--no-classifier", envvar="LIMNER_CLASSIFIER",
        help="Refuse pictures that a classifier calls pornographic; needs the extra safety.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Marking:
    """What the files say of their origin, as options say it."""

    xmp: Xmp = True
    mark: Mark = None
    label: Label = None
    sign: Sign = None

    def saving(self, metadata: bool) -> Saving:
        """Return how pictures are saved.

        Raises UsageError for a label that there is none of, and what signing would raise.
        """
        if self.sign:
            from limner.finish.provenance.signing import check_signing

            check_signing(self.sign)  # before anything is drawn
        return Saving(metadata, self.xmp, self.mark, self.label, self.sign)

    def spelt(self) -> list[str]:
        """Return the options that ask for the same, without those that say what is usual."""
        words = [] if self.xmp else ["--no-xmp"]
        words += [] if self.mark is None else ["--mark" if self.mark else "--no-mark"]
        words += ["--label", self.label] if self.label else []
        return words + (["--sign", str(self.sign)] if self.sign else [])


@dataclass(frozen=True)
class Guarding:
    """What may be drawn, as options say it."""

    policy: PolicyFile = None
    no_policy: NoPolicy = False
    classifier: Classified = False

    def check(self, prompt: str) -> None:
        """Raise PolicyError for a prompt that the policy refuses, and what reading it raises."""
        # The option wins over a policy that a variable or the user's file names.
        if self.no_policy or not prompt:
            return
        from limner.finish.policy.rules import default_policy, read_policy

        policy = default_policy() if self.policy is None else read_policy(self.policy)
        policy.check(prompt)

    def watcher(self) -> Callable[[Sequence[Picture]], list[str]]:
        """Return what judges pictures before they are written, and says what it is unsure of.

        Raises MissingExtraError where the classifier is wanted and not installed.
        """
        if not self.classifier:
            return lambda pictures: []
        from limner.finish.classifier import PictureClassifier

        return PictureClassifier().check

    def spelt(self) -> list[str]:
        """Return the options that ask for the same."""
        words = ["--classifier"] if self.classifier else []
        if self.no_policy:
            return [*words, "--no-policy"]
        return words + (["--policy", str(self.policy)] if self.policy else [])
