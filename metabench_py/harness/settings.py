"""What a run is made with, and the arguments that lm-eval gets for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metabench_py.errors import InputError

# lm-eval's own default, said here so that a change there changes nothing: the permuted tasks
# shuffle by the first of the four.
SEED = "0,1234,1234,1234"
# Backends that want the model's name as "model"; the others take "pretrained".
_BY_MODEL = (
    "anthropic", "litellm", "local-chat-completions", "local-completions", "openai", "textsynth",
)  # fmt: skip
# What we give lm-eval ourselves.
_OURS = {
    "--tasks": "-t", "--include_path": "", "--output_path": "-o", "--log_samples": "-s",
    "--model": "-M", "--predict_only": "-x", "--config": "-C", "--samples": "-E",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a run is made with.

    Attributes
    ----------
    model
        Id on the Hub or a folder; also names the folder of the logs.
    backend
        lm-eval's ``--model``.
    model_args
        lm-eval's ``--model_args`` besides the model's name.
    limit
        Items a task: a number, or a share below 1.
    extra
        More arguments, passed on untouched.
    imports
        Modules or files that lm-eval's process imports first; they may register a backend.
    """

    model: str
    backend: str = "hf"
    model_args: tuple[str, ...] = ()
    device: str | None = None
    batch_size: str | None = None
    limit: float | None = None
    extra: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.model.strip("./"):
            raise InputError(f"{self.model!r} is no model; give its id on the Hub or its folder.")
        if self.limit is not None and not self.limit > 0:
            raise InputError(f"--limit {self.limit:g}: give a number of items, or a share below 1.")
        for argument in self.extra:
            name = argument.partition("=")[0]
            if name in _OURS or (name and name in _OURS.values()):
                raise InputError(
                    f"{argument} is set by evaluate itself and cannot come after --; see "
                    "metabench-py evaluate --help, or run lm-eval on its own."
                )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def lm_eval_arguments(
    settings: Settings,
    tasks: Sequence[str],
    task_folder: Path,
    output: Path,
    responses: Path,
) -> list[str]:
    """Make lm-eval's arguments (pure).

    Parameters
    ----------
    tasks
        Groups and tasks.
    task_folder
        Their definitions.
    output
        Where lm-eval writes results and logs.
    responses
        Start of the name of the database that keeps every response as it comes, so that an
        interrupted run goes on where it was.
    """
    arguments = ["run", "--model", settings.backend]
    key = "model" if settings.backend.startswith(_BY_MODEL) else "pretrained"
    if not any(_names_model(text) for text in settings.model_args):
        # As JSON, since a path may hold commas.
        arguments += ["--model_args", json.dumps({key: settings.model})]
    for text in settings.model_args:
        arguments += ["--model_args", text]
    arguments += ["--tasks", ",".join(tasks), "--include_path", str(task_folder)]
    arguments += ["--output_path", str(output), "--log_samples"]
    for option, value in (
        ("--device", settings.device),
        ("--batch_size", settings.batch_size),
        ("--limit", None if settings.limit is None else f"{settings.limit:g}"),
        ("--use_cache", str(responses)),
        ("--seed", SEED),
    ):
        if value is not None and not _given(option, settings.extra):
            arguments += [option, value]
    return [*arguments, *settings.extra]


def _names_model(text: str) -> bool:
    """Whether model arguments name the model themselves."""
    if text.lstrip().startswith("{"):
        return '"pretrained"' in text or '"model"' in text
    return any(part.strip().startswith(("pretrained=", "model=")) for part in text.split(","))


def _given(option: str, extra: Sequence[str]) -> bool:
    short = {"--use_cache": "-c", "--limit": "-L", "--batch_size": "-b"}.get(option, option)
    return any(argument.partition("=")[0] in (option, short) for argument in extra)
