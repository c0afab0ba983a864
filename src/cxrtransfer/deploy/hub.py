"""Classifiers on the Hugging Face hub."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrtransfer.files import expand
from cxrtransfer.types import StrPath

from .bundle import BUNDLE_FILES

__all__ = ["HUB_PREFIX", "bundle_folder", "upload"]

HUB_PREFIX = "hf-hub:"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_TOKEN = re.compile(r"hf_\w+|Bearer \S+")


def bundle_folder(name: StrPath, *, token: str | None = None) -> Path:
    """Return the folder of a classifier; a name of the hub is downloaded into its cache.

    Only the files of a classifier are downloaded: JSON, Markdown and safetensors, no pickle.

    Args:
        name: A folder, or ``"hf-hub:user/name"`` or ``"hf-hub:user/name@revision"``.
        token: Access token; by default the stored one.

    Raises:
        FileNotFoundError: If the hub cannot be reached, or has no such classifier.
        ValueError: If the name is not of this form.
    """
    if not str(name).startswith(HUB_PREFIX):
        return expand(name)
    repository, _, revision = str(name).removeprefix(HUB_PREFIX).partition("@")
    _check_repository(repository)
    import huggingface_hub  # noqa: PLC0415  (slow to import)
    from huggingface_hub import errors  # noqa: PLC0415

    options: dict[str, Any] = {"revision": revision or None, "token": token}
    try:
        folder = huggingface_hub.snapshot_download(
            repository, allow_patterns=list(BUNDLE_FILES), **options
        )
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"the hub has no repository {repository!r}, or it is private and the token has no "
            "access; check the name, or log in with: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(
            f"the repository {repository!r} has no revision {revision!r}"
        ) from None
    except (OSError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise FileNotFoundError(_unreachable(repository, error)) from None
    except Exception as error:
        if not _is_transport_error(error):
            raise
        raise FileNotFoundError(_unreachable(repository, error)) from None
    _check_complete(Path(folder), repository, revision, token)
    return Path(folder)


def upload(
    save: Callable[[StrPath], Path], repo_id: str, *, private: bool, token: str | None
) -> str:
    """Save a classifier into a temporary folder, and upload that.

    Raises:
        OSError: If the hub cannot be reached or refuses the upload.
        ValueError: If ``repo_id`` is not ``"user/name"``.
    """
    _check_repository(repo_id)
    import huggingface_hub  # noqa: PLC0415  (slow to import)

    with tempfile.TemporaryDirectory() as parent:
        folder = save(Path(parent) / "model")
        api = huggingface_hub.HfApi(token=token)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                allow_patterns=list(BUNDLE_FILES),
                commit_message="Upload a cxrtransfer classifier",
            )
        except Exception as error:
            if not isinstance(error, OSError | ValueError) and not _is_transport_error(error):
                raise
            raise OSError(
                f"the upload to {repo_id!r} failed: {_first_line(error)}; check the network, and "
                "that the token has write permission (hf auth login)"
            ) from None
    return f"{HUB_PREFIX}{repo_id}"


def _check_repository(name: str) -> None:
    if not _REPOSITORY.fullmatch(name):
        raise ValueError(f"a repository must be named 'user/name', got {name!r}")


def _check_complete(folder: Path, repository: str, revision: str, token: str | None) -> None:
    """Raise if files are missing, and name the pickles that the repository holds."""
    missing = [name for name in BUNDLE_FILES if not (folder / name).is_file()]
    if not missing:
        return
    import huggingface_hub  # noqa: PLC0415

    held = ""
    try:
        names = huggingface_hub.list_repo_files(repository, revision=revision or None, token=token)
    except Exception:  # noqa: BLE001  (the list only improves the message)
        names = []
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
    if pickles:
        held = (
            f"; it holds {', '.join(pickles)}, and pickled weights are refused, as loading them "
            "may run code"
        )
    raise FileNotFoundError(
        f"the repository {repository!r} must hold a saved classifier, but has no "
        f"{', '.join(missing)}{held}"
    )


def _unreachable(repository: str, error: Exception) -> str:
    return (
        f"{HUB_PREFIX}{repository} is not in the cache and the hub cannot be reached "
        f"({_first_line(error)}); copy the folder from another machine and pass its path"
    )


def _first_line(error: Exception) -> str:
    """Return the type and first line of an error's message, without any token."""
    lines = str(error).strip().splitlines()
    text = _TOKEN.sub("[token]", lines[0]) if lines else ""
    return f"{type(error).__name__}: {text}"[:200].rstrip(": ")


def _is_transport_error(error: Exception) -> bool:
    """Return whether an error comes from the HTTP library, whichever the hub client uses."""
    return type(error).__module__.startswith(("httpx", "httpcore", "requests"))
