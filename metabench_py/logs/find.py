"""Finds a model's sample logs."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from metabench_py.errors import ModelNotFoundError, StorageError
from metabench_py.logs.names import WORK_FOLDER, LogName, folder_name, parse_log_name

EXAMPLE = "example"
_NEAR = 3


@dataclass(frozen=True)
class ModelLogs:
    """All metabench sample logs of one model.

    Attributes
    ----------
    model
        The folder's name, or what tells it from the others under one folder.
    folder
        Where the logs lie.
    """

    model: str
    folder: Path
    logs: tuple[LogName, ...]


def example_folder() -> Path:
    """Results folder of the example that ships with the package."""
    return Path(__file__).resolve().parent.parent / "examples"


def find_model(model: str, results: Path) -> ModelLogs:
    """Find a model's logs.

    Parameters
    ----------
    model
        A folder's name in `results`, the model's id on the Hub, a folder anywhere, or
        ``example`` for the one that ships with the package.
    results
        lm-eval's output folder.

    Raises
    ------
    ModelNotFoundError
        There is no such folder (near names are suggested), it holds no metabench logs, or it
        holds those of several models.
    StorageError
        A folder cannot be read.
    """
    folder = _folder(model, results)
    found = _scan(folder)
    if not found:
        raise ModelNotFoundError(
            f"{folder} holds no metabench sample logs (samples_metabench_*.jsonl). Run lm-eval "
            "with --log_samples and --output_path, or name another folder.",
            model=model,
            results=str(results),
            near=[],
        )
    if len(found) > 1:
        names = [str(logs.folder.relative_to(folder)) for logs in found]
        raise ModelNotFoundError(
            f"{folder} holds the logs of {len(found)} models: {_listed(names)}. "
            f"Name one of these folders, or give --all {folder}.",
            model=model,
            results=str(results),
            near=names,
        )
    return ModelLogs(found[0].folder.resolve().name, found[0].folder, found[0].logs)


def find_all(folder: Path) -> list[ModelLogs]:
    """Find the logs of every model under a folder, in the order of their names.

    Links to folders are followed. A folder that is reached twice counts once, by its own name
    where that is under `folder`.

    Raises
    ------
    ModelNotFoundError
        The folder is absent or there are none.
    StorageError
        A folder cannot be read.
    """
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"{folder} is not a folder.", model=None, results=str(folder), near=[]
        )
    found = _scan(folder)
    if not found:
        raise ModelNotFoundError(
            f"No metabench sample logs (samples_metabench_*.jsonl) anywhere under {folder}.",
            model=None,
            results=str(folder),
            near=[],
        )
    return [
        ModelLogs(
            str(logs.folder.relative_to(folder))
            if logs.folder != folder
            else folder.resolve().name,
            logs.folder,
            logs.logs,
        )
        for logs in found
    ]


def _folder(model: str, results: Path) -> Path:
    for path in (results / model, results / folder_name(model), Path(model)):
        if model and path.is_dir():
            return path
    if model == EXAMPLE:
        return example_folder()
    near: list[str] = []
    if results.is_dir():
        there = sorted(p.name for p in results.iterdir() if p.is_dir())
        # Without case and organisation: people misspell those first.
        plain = {name.lower().split("__")[-1]: name for name in there}
        near = difflib.get_close_matches(folder_name(model), there, _NEAR, 0.6)
        wanted = folder_name(model).lower().split("__")[-1]
        near += [plain[n] for n in difflib.get_close_matches(wanted, list(plain), _NEAR, 0.7)]
        near = list(dict.fromkeys(near))[:_NEAR]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {_listed(there)}."
        if not there:
            hint = "it has no folders."
        text = f"No model {model!r} in {results}; {hint}"
    else:
        text = (
            f"No model {model!r}: there is neither a folder of that name nor a results folder "
            f"{str(results)!r}. Name lm-eval's output folder with --results."
        )
    raise ModelNotFoundError(text, model=model, results=str(results), near=near)


def _scan(folder: Path) -> list[ModelLogs]:
    """Walk over the folders that hold metabench logs, each one model's, sorted by their paths."""
    found: list[ModelLogs] = []
    # A link upwards is a loop, which would lead out of the folder and back into it.
    seen = set(folder.resolve().parents)
    waiting = [folder]
    # Links wait until all else was seen, so that what they lead to keeps its own name.
    while waiting:
        for parent, folders, files in os.walk(waiting.pop(0), onerror=_unreadable):
            here = Path(parent)
            real = here.resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if name != WORK_FOLDER)
            waiting += [here / name for name in folders if (here / name).is_symlink()]
            logs = [parse_log_name(here / name) for name in sorted(files)]
            known = tuple(log for log in logs if log is not None)
            if known:
                found.append(ModelLogs("", here, known))
    return sorted(found, key=lambda logs: logs.folder.parts)


def _unreadable(error: OSError) -> None:
    raise StorageError(
        f"{error.filename} cannot be read ({error.strerror}); make it readable, or name another "
        "folder.",
        path=str(error.filename),
    ) from error


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
