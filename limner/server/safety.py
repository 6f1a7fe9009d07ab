"""The hooks of `limner serve`: limner's own prompt policy, and what a file tells of its origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.errors import PolicyError
from limner.finish.classifier import BLOCKED, PictureClassifier
from limner.finish.policy.rules import Policy, default_policy, read_policy
from limner.finish.provenance.signing import ABSENT, INVALID, TRUSTED, UNCHECKED, VALID
from limner.finish.verify import Origin, verify_bytes
from limner.server.config import ServerConfig
from limner.server.hooks import Hooks

if TYPE_CHECKING:
    from PIL.Image import Image

NO_POLICY = "none"
# Categories of limner's policy by the names that OpenAI's moderations have for them.
_OPENAI = {
    "sexual_children": "sexual/minors", "sexual": "sexual", "violence": "violence/graphic",
    "hatred": "hate", "self_harm": "self-harm",
}  # fmt: skip
_STATES = {VALID: "valid", TRUSTED: "trusted", INVALID: "invalid", ABSENT: "not_present"}


def own_hooks(config: ServerConfig) -> Hooks:
    """Return the hooks of a server's config; raises as `read_policy` and `PictureClassifier`."""
    hooks = Hooks(provenance=provenance_of)
    if config.policy != NO_POLICY:
        policy = read_policy(config.policy) if config.policy else default_policy()
        hooks.prompts.append(lambda prompt: _check(policy, prompt))
    if config.classifier:
        classifier = PictureClassifier()
        hooks.pictures.append(lambda image: _judged(classifier, image))
    return hooks


def provenance_of(data: bytes) -> list[Mapping[str, Any]]:
    """Return the results of a provenance check of a file; raises ImageError for no picture."""
    origin = verify_bytes(data, "file")
    found = {
        "iptc": bool(origin.source),
        "limner_metadata": origin.metadata is not None,
        "limner_mark": origin.marked,
    }
    told = [{"type": name, "outcome": _outcome(each)} for name, each in found.items()]
    return [_c2pa(origin), *told]


def _c2pa(origin: Origin) -> dict[str, Any]:
    signature = origin.signature
    if signature.state == UNCHECKED:  # the extra that reads it is not installed
        return {"type": "c2pa", "outcome": "not_checked"}
    return {
        "type": "c2pa",
        "outcome": _outcome(signature.state != ABSENT),
        "validation_state": _STATES[signature.state],
        "issuer": signature.issuer or None,
    }


def _outcome(found: bool) -> str:
    return "detected" if found else "not_detected"


def _judged(classifier: PictureClassifier, image: Image) -> Image:
    """Return a picture, finished or partial, that may be sent; PolicyError for one that may not."""
    (score,) = classifier.scores([image])
    if score >= BLOCKED:
        raise PolicyError(
            f"the picture is refused by the classifier, with a score of {score:.2f} of "
            f"{BLOCKED:g}; choose another seed or prompt",
            code="sexual",
        )
    return image


def _check(policy: Policy, prompt: str) -> None:
    """Raise PolicyError whose code is the category in the words of OpenAI's moderations."""
    try:
        policy.check(prompt)
    except PolicyError as error:
        found = policy.find(prompt)  # again, but of what is refused alone
        name = "" if found is None else found.category.name
        raise PolicyError(str(error), param="prompt", code=_OPENAI.get(name, name)) from error
