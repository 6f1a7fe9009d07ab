"""The Hugging Face Hub: the one place that fetches anything from the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.errors import ResourceError, UnknownModelError, quote

PREFIX = "hf:"


def download(name: str, files: Sequence[str]) -> tuple[Path, Path]:
    """Return the snapshot folder of `hf:owner/name` and the folder that its links point into.

    Only `files` (patterns) are fetched, and what is in the cache is not fetched again. Raises
    UnknownModelError for no such repository, ResourceError when the Hub does not answer.
    """
    check_name(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name.removeprefix(PREFIX)
    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(files)))
    except HFValidationError as error:
        raise UnknownModelError(
            f"{quote(name)} names no repository; expected hf:owner/name", param="model"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ResourceError(
            f"{quote(name)} is not on this machine and the Hub cannot be reached; "
            "connect, or give a model folder"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnknownModelError(
            f"cannot fetch {quote(name)}: {reason}; check the name", param="model"
        ) from error
    return folder, folder.parent.parent


def check_name(name: str) -> None:
    """Raise UnknownModelError for what cannot be `hf:owner/name`, without asking the Hub."""
    if name.removeprefix(PREFIX).count("/") != 1:
        raise UnknownModelError(
            f"{quote(name)} names no repository; expected hf:owner/name", param="model"
        )
