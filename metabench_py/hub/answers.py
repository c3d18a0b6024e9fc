"""What the answers of the Hub's client mean: which "no" an error is, what a file's entry says."""

from __future__ import annotations

from typing import Any, Literal

from metabench_py.errors import MetabenchError
from metabench_py.hub.listing import HubFile
from metabench_py.hub.retry import reason, status_of


class RefusedError(MetabenchError):
    """The Hub says no for good (facts: state = absent, gated or refused)."""

    state: Literal["absent", "gated", "refused"]


def refusal_of(what: str, error: Exception) -> RefusedError | None:
    """Say which "no" an error of the Hub's client is; None if it is none."""
    names = names_of(error)
    status = status_of(error)
    if "GatedRepoError" in names or (status == 403 and "DisabledRepoError" not in names):
        text = "the repository is gated; ask for access on its page and log in (hf auth login)"
        return RefusedError(f"{what}: {text}.", url=what, state="gated")
    if names & {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}:
        gone = "this revision" if "RevisionNotFoundError" in names else "it"
        return RefusedError(
            f"{what}: the Hub does not have {gone}, or not for us.", url=what, state="absent"
        )
    if "HFValidationError" in names:
        return RefusedError(f"{what}: no repository can have this name.", url=what, state="absent")
    if status is not None:
        state = "absent" if status in (404, 410) else "refused"
        return RefusedError(f"{what}: {reason(error)}.", url=what, state=state)
    return None


def names_of(error: BaseException) -> set[str]:
    """Names of an error's classes."""
    # By name along the class tree: older clients keep these classes elsewhere.
    return {kind.__name__ for kind in type(error).__mro__}


def hub_file(sibling: Any) -> HubFile:
    """Make our value of the client's entry of a file."""
    lfs = sibling.lfs
    if lfs is None:
        return HubFile(sibling.rfilename, sibling.size, git_sha1=sibling.blob_id or "")
    # A class since 0.22, a dictionary before.
    digest, size = (
        (lfs.get("sha256"), lfs.get("size")) if isinstance(lfs, dict) else (lfs.sha256, lfs.size)
    )
    return HubFile(sibling.rfilename, size, sha256=digest or "")
