"""Damaged logs: an error that names file and line, or a flag; never a traceback.

Each example takes a good model, damages one of its logs in one of many ways drawn by a seed, and
reads it as `reconstruct` does.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import doc_hash, log_path, write_model
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import Bundle
from metabench_py.errors import LogError
from metabench_py.logs import find_model, read_model
from metabench_py.logs.model import Wanted

VALUES: list[Any] = [
    None, True, "", "1", 2, -1, 0.5, 1e308, 10**40, [], [1], {}, {"a": 1}, "nan", "\ud800",
    float("nan"), float("inf"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def _rows(change: Callable[[random.Random, list[Any]], None]) -> Callable[..., bytes]:
    def mutate(content: bytes, draw: random.Random) -> bytes:
        values = [json.loads(line) for line in content.splitlines()]
        change(draw, values)
        return b"".join(json.dumps(value).encode() + b"\n" for value in values)

    return mutate


def _set(draw: random.Random, values: list[Any]) -> None:
    row = draw.choice(values)
    row[draw.choice([*row, "filter", "bypass"])] = draw.choice(VALUES)


def _set_in_doc(draw: random.Random, values: list[Any]) -> None:
    doc = draw.choice(values)["doc"]
    doc[draw.choice([*doc, "subject", "more"])] = draw.choice(VALUES)


def _set_in_doc_and_hash(draw: random.Random, values: list[Any]) -> None:
    row = draw.choice(values)
    row["doc"][draw.choice([*row["doc"], "subject", "more"])] = draw.choice(VALUES[:-3])
    row["doc_hash"] = doc_hash(row["doc"]) if "\ud800" not in row["doc"].values() else "0"


def _drop_key(draw: random.Random, values: list[Any]) -> None:
    row = draw.choice(values)
    target = draw.choice([row, row["doc"]])
    del target[draw.choice(list(target))]


def _drop_row(draw: random.Random, values: list[Any]) -> None:
    del values[draw.randrange(len(values))]


def _repeat_row(draw: random.Random, values: list[Any]) -> None:
    values.insert(draw.randrange(len(values)), draw.choice(values))


def _other_row(draw: random.Random, values: list[Any]) -> None:
    values[draw.randrange(len(values))] = draw.choice(VALUES)


def _nan(draw: random.Random, values: list[Any]) -> None:
    draw.choice(values)["resps"] = draw.choice(
        [[["nan", "False"]], [[float("nan"), False]], [["-inf", "False"]]]
    )


def _limit(draw: random.Random, values: list[Any]) -> None:
    del values[draw.randrange(1, len(values)) :]


def _deep(draw: random.Random, values: list[Any]) -> None:
    deep: Any = "nan"
    for _ in range(draw.choice([200, 900])):
        deep = [deep]
    draw.choice(values)[draw.choice(["resps", "doc", "acc"])] = deep


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) - 1)]


def _flip(content: bytes, draw: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _insert(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content))
    junk = draw.choice([b"\0", b"\xff", b"\n\n", b"{}", b"\r", b"\xef\xbb\xbf", draw.randbytes(9)])
    return content[:position] + junk + content[position:]


def _encode(content: bytes, draw: random.Random) -> bytes:
    return content.decode().encode(draw.choice(["utf-16", "utf-32", "utf-8-sig"]))


MUTATIONS: list[Callable[..., bytes]] = [
    *map(
        _rows,
        (
            _set, _set_in_doc, _set_in_doc_and_hash, _drop_key, _drop_row, _repeat_row, _other_row,
            _nan, _limit, _deep,
        ),
    ),
    _cut, _flip, _insert, _encode,
]  # fmt: skip


@seed(20241126)
@settings(
    max_examples=420,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    number=st.integers(0, 2**32),
    kind=st.integers(0, len(MUTATIONS) - 1),
    benchmark=st.sampled_from(BENCHMARKS),
)
def test_no_damage_goes_unnoticed(bundle: Bundle, number: int, kind: int, benchmark: Any) -> None:
    draw = random.Random(number)
    models = bundle.benchmarks
    wanted = {b: Wanted.of(b, models[b].parameters.items, models[b].metric) for b in BENCHMARKS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "org__model"
        answers = write_model(folder, bundle, number)
        path = log_path(folder, benchmark)
        original = path.read_bytes()
        path.write_bytes(MUTATIONS[kind](original, draw))
        error: LogError | None = None
        try:
            result = read_model(
                find_model(str(folder), Path("absent")), wanted, "B", allow_missing=True
            )
        except LogError as caught:
            error = caught
    if error is not None:
        text = str(error)
        assert str(path) in text
        assert error.facts["line"] is None or f"line {error.facts['line']}: " in text
        # What a terminal takes, on one line.
        assert "\n" not in text.encode().decode()
        return
    if not any(not np.array_equal(result.values[b], answers[b]) for b in BENCHMARKS):
        # The damage touched nothing that counts, or the flag says what did.
        return
    if result.flags:
        return
    # What is left is an answer changed to another valid one, which no reader can see.
    changed = np.flatnonzero(result.values[benchmark] != answers[benchmark])
    assert set(result.values[benchmark][changed]) <= {0, 1}
    assert changed.size <= 4
