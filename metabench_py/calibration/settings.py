"""Frozen option classes from tables of a TOML file, every value checked against its type."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metabench_py.errors import InputError

T = TypeVar("T")


def options_from(
    kind: type[T],
    table: Mapping[str, Any],
    where: str,
    path: Path,
    *,
    without: tuple[str, ...] = (),
) -> T:
    """Make a dataclass of a table.

    Parameters
    ----------
    kind
        A frozen dataclass whose fields have defaults.
    table
        Names of fields and their values; others keep their defaults.
    where
        Name of the table, for messages; empty for the file's top.
    path
        The file, for messages.
    without
        Fields that the file may not set.

    Raises
    ------
    InputError
        An unknown name, a value of another type, or one that the class refuses; the message
        names file, table and name.
    """
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind) if f.name not in without]  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise InputError(
                f"{path}: {_full(where, name)} is not known; known are {', '.join(known)}.",
                path=str(path),
                name=name,
            )
        given[name] = _typed(value, hints[name], _full(where, name), path)
    try:
        return kind(**given)
    except InputError as error:
        place = f"[{where}]: " if where else ""
        raise InputError(f"{path}: {place}{error}", **{**error.facts, "path": str(path)}) from error


def _full(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _typed(value: Any, hint: Any, name: str, path: Path) -> Any:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # TOML has no null; a name that is left out is None.
        return _typed(value, next(a for a in inside if a is not type(None)), name, path)
    if origin is Literal:
        if value not in inside:
            _refuse(value, f"one of {', '.join(map(str, inside))}", name, path)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            example = f', such as ["{value}"]' if isinstance(value, str) else ""
            _refuse(value, f"a list{example}", name, path)
        return tuple(_typed(item, inside[0], name, path) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            _refuse(value, "a table", name, path)
        return {k: _typed(v, inside[1], f"{name}.{k}", path) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return (path.parent / Path(value).expanduser()).resolve()
    if not isinstance(hint, type) or not isinstance(value, hint) or _bool_as_int(value, hint):
        what = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        _refuse(value, what.get(hint, "text" if hint is Path else str(hint)), name, path)
    return value


def _bool_as_int(value: Any, hint: type) -> bool:
    return isinstance(value, bool) and hint is not bool


def _refuse(value: Any, wanted: str, name: str, path: Path) -> None:
    raise InputError(f"{path}: {name} is {value!r}; give {wanted}.", path=str(path), name=name)
