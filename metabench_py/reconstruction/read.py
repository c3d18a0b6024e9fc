"""Reads results back from the JSON that `reconstruct` and `evaluate` write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES
from metabench_py.errors import InputError
from metabench_py.reconstruction.result import RESULT_SCHEMA, Ability, Flag, Reconstruction, Score

_INSTEAD = "Give what metabench-py reconstruct --json or --jsonl, or evaluate, wrote."


class _NotAResultError(Exception):
    """What is wrong, for the message that names the file."""


def read_results(path: Path) -> list[Reconstruction]:
    """Read a file of one result, of an array of them, or of one a line.

    Keys that this version does not know are left aside.

    Raises
    ------
    InputError
        The file cannot be read, holds something else, or is of a schema that this version does
        not know.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"Cannot read {path}: {reason}. {_INSTEAD}", path=str(path)) from error
    results = []
    for place, value in _values(text, path):
        where = f"{path}{place}"
        try:
            results.append(result_from_dict(value))
        except _NotAResultError as error:
            raise InputError(f"{where}: {error}", path=str(path)) from None
    if not results:
        raise InputError(f"{path} holds no result. {_INSTEAD}", path=str(path))
    return results


def result_from_dict(value: Any) -> Reconstruction:
    """Make a result of `Reconstruction.to_dict`'s value."""
    if not isinstance(value, dict) or not {"schema", "scores", "abilities"} <= value.keys():
        raise _NotAResultError(f"this is no result. {_INSTEAD}")
    if value["schema"] != RESULT_SCHEMA or isinstance(value["schema"], bool):
        raise _NotAResultError(
            f"the result is of schema {_shown(value['schema'])}, and this metabench-py knows "
            f"schema {RESULT_SCHEMA} only. Update metabench-py, or reconstruct again with this one."
        )
    scores = _part(value, "scores", dict)
    if set(scores) <= set(BENCHMARKS) and len(scores) == 1:
        raise _NotAResultError(
            f"the result is of {TITLES[next(iter(scores))]} alone (reconstruct --only), and all "
            "six benchmarks are shown here. Reconstruct without --only."
        )
    abilities = _part(value, "abilities", dict)
    grand = _part(scores, "grand", dict, "scores")
    return Reconstruction(
        model=_part(value, "model", str),
        version=_part(value, "version", str),
        permuted=_part(value, "permuted", bool),
        scores={t: Score(**_record(Score, scores, t, "scores")) for t in TARGETS},
        abilities={b: Ability(**_record(Ability, abilities, b, "abilities")) for b in BENCHMARKS},
        grand_subscore=_number(grand, "subscore", "scores.grand"),
        grand_linear_predictor=_number(grand, "linear_predictor", "scores.grand"),
        flags=tuple(_flag(one) for one in _part(value, "flags", list)),
        logs={str(b): _texts(log) for b, log in _part(value, "logs", dict).items()},
        engine={k: v or "" for k, v in _texts(_part(value, "engine", dict)).items()},
        bundle={k: v or "" for k, v in _texts(_part(value, "bundle", dict)).items()},
        software={k: v or "" for k, v in _texts(_part(value, "software", dict)).items()},
    )


def _values(text: str, path: Path) -> list[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply. {_INSTEAD}", path=str(path)) from None
    except ValueError as error:
        values = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                if line.strip():
                    values.append((f":{number}", json.loads(line)))
            except (ValueError, RecursionError):
                one = (isinstance(error, json.JSONDecodeError) and error.lineno) or number
                raise InputError(
                    f"{path}:{number if values else one}: not JSON. {_INSTEAD}", path=str(path)
                ) from None
        return values
    if isinstance(value, list):
        return [(f", result {number}", one) for number, one in enumerate(value, 1)]
    return [("", value)]


def _record(kind: type[Any], found: Mapping[str, Any], key: str, at: str) -> dict[str, Any]:
    """Values of a dataclass's fields; those that a result of before lacks get their default."""
    record = _part(found, key, dict, at)
    where = f"{at}.{key}"
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in record:
            values[field.name] = _value(field, record, where)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise _NotAResultError(f"{where} ({TITLES[key]}) lacks {field.name!r}. {_INSTEAD}")
    return values


def _value(field: Field[Any], record: Mapping[str, Any], at: str) -> Any:
    kind = str(field.type)
    value = record[field.name]
    if "None" in kind and value is None:
        return None
    if "float" in kind:
        return _number(record, field.name, at)
    if kind == "int":
        return _part(record, field.name, int, at)
    if kind in ("str", "Interval", "ScoreMethod"):
        return _part(record, field.name, str, at)
    return value


def _part(found: Mapping[str, Any], key: str, kind: type[Any], at: str = "") -> Any:
    value = found.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        name = f"{at}.{key}" if at else key
        raise _NotAResultError(f"{name} is {_shown(value)}, which no result has. {_INSTEAD}")
    return value


def _number(found: Mapping[str, Any], key: str, at: str) -> float:
    """Null stands for infinite or undefined numbers, which JSON lacks."""
    value = found.get(key)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotAResultError(f"{at}.{key} is {_shown(value)}, not a number. {_INSTEAD}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _flag(value: Any) -> Flag:
    if not isinstance(value, dict):
        raise _NotAResultError(f"a flag is {_shown(value)}, which no result has. {_INSTEAD}")
    return Flag(_part(value, "flag", str, "flags"), _part(value, "detail", str, "flags"))


def _texts(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise _NotAResultError(f"{_shown(value)} stands where a result has names. {_INSTEAD}")
    return {str(k): None if v is None else str(v) for k, v in value.items()}


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:40]}..."
