"""The Hugging Face Hub: the one place that speaks with the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.errors import ResourceError, UnknownModelError, UsageError, quote, shorten

PREFIX = "hf:"


def download(name: str, files: Sequence[str]) -> tuple[Path, Path]:
    """Return the snapshot folder of `hf:owner/name` and the folder that its links point into.

    `hf:owner/name@revision` is a branch, tag or commit of it. Only `files` (patterns) are fetched,
    and what is in the cache is not fetched again. Raises UnknownModelError for no such repository
    or revision, ResourceError when the Hub does not answer.
    """
    check_name(name)
    # Imported here: most of limner never needs the network, and the import is slow.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    try:
        found = snapshot_download(repository, revision=revision or None, allow_patterns=list(files))
        folder = Path(found)
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
        raise UnknownModelError(
            f"cannot fetch {quote(name)}: {_reason(error)}; check the name", param="model"
        ) from error
    # The cache keeps files as links into blobs/, which lies two folders up.
    return folder, folder.parent.parent


def check_name(name: str) -> None:
    """Raise UnknownModelError for what cannot be `hf:owner/name[@revision]`, without the Hub."""
    repository, mark, revision = name.removeprefix(PREFIX).partition("@")
    if repository.count("/") != 1 or (mark and not revision):
        raise UnknownModelError(
            f"{quote(name)} names no repository; expected hf:owner/name", param="model"
        )


def upload(
    folder: Path, name: str, *, revision: str | None, private: bool | None, message: str
) -> str:
    """Write every file of a folder to the repository `owner/name`; return its `hf:` name.

    The repository, and the branch `revision`, are made where they are missing. Raises UsageError
    for what names no repository, ResourceError when the Hub refuses or does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    repository = str(name).removeprefix(PREFIX)
    try:
        validate_repo_id(repository if "/" in repository else "")
    except HFValidationError as error:
        raise UsageError(
            f"{quote(name)} names no repository; expected owner/name", param="repository"
        ) from error
    api = HfApi(library_name="limner")
    try:
        # Made where missing, so that the first upload needs no visit to the site.
        api.create_repo(repository, private=private, exist_ok=True)
        if revision:
            api.create_branch(repository, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, revision=revision, commit_message=message
        )
    except Exception as error:  # releases differ in whose errors those of the network are
        raise ResourceError(
            f"the Hub did not take {quote(name)}: {_reason(error)}; log in with hf auth login, and "
            "check the name and your rights"
        ) from error
    return f"{PREFIX}{repository}@{revision}" if revision else f"{PREFIX}{repository}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shorten(lines[0] if lines else type(error).__name__, 160)
