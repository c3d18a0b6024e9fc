"""Reading one log; every kind of bad log has its message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.logs import rows

from metabench_py.errors import LogError
from metabench_py.logs.reader import read_log


def _lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


ITEMS = ("7", "17", "27")
ROWS = rows("arc", dict(zip(ITEMS, (1, 0, 1), strict=True)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (_lines(*ROWS)[:-20], "line 3: the last line is cut off"),
        (_lines(*ROWS[:2]) + b"{oops}\n", r"line 3: not JSON \("),
        (b"\x7fELF\0\0\0", "line 1: binary content"),
        (_lines(*ROWS).decode().encode("utf-16"), "line 1: binary content"),
        (_lines(ROWS[0]) + b'{"a": "\xff"}\n', "line 2: not UTF-8"),
        (b"[1, 2]\n", "line 1: not a JSON object"),
        (b"[" * 100_000 + b"\n", "line 1: (JSON nested too deeply|not JSON)"),
        (_lines({"doc": {"id": 3}, "acc": 1}), r"line 1: no doc\.metabench_idx"),
        (_lines({"doc": {"metabench_idx": [7]}, "acc": 1}), r"item '\[7\]' is no text or number"),
        (_lines(*rows("arc", {"8": 1, "9": 1})), "line 1: item '8' is not in the bundle, nor is"),
        (_lines(*ROWS, ROWS[1]), "line 4: item '17' occurs a second time"),
        (_lines(ROWS[0] | {"acc": 0.5}), "line 1: item '7': acc is '0.5', neither 0 nor 1"),
        (_lines(ROWS[0] | {"acc": [1]}), "neither 0 nor 1"),
        (_lines(ROWS[0] | {"acc": float("nan")}), "line 1: item '7': acc is NaN"),
        (_lines({"doc": {"metabench_idx": 7}, "exact_match": 1}), "no metric 'acc'; it has exact_"),
        (_lines({"doc": {"metabench_idx": 7}}), "no metric 'acc'; it has no metrics"),
        (_lines({"doc": {"metabench_idx": 7}, "bypass": 999}), "--predict_only"),
    ],
)
def test_bad_logs(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(LogError, match=message) as caught:
        read_log(path, "arc", "acc", ITEMS)
    assert str(path) in str(caught.value)
    assert caught.value.facts["path"] == str(path)
    assert not str(caught.value).endswith(("?.", ".."))


def test_harmless_oddities(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + _lines(*ROWS).replace(b"\n", b"\r\n") + b"\n")
    assert read_log(path, "arc", "acc", ITEMS).values.tolist() == [1, 0, 1]


def test_a_folder_in_place_of_a_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be read"):
        read_log(tmp_path, "arc", "acc", ITEMS)


def test_endless_line_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"a": "')
        stream.seek(10 << 30)
        stream.write(b'"}\n')
    with pytest.raises(LogError, match="line 1: longer than 64 MiB"):
        read_log(path, "arc", "acc", ITEMS)


def test_gsm8k_without_filters_needs_both_rows_of_an_item(tmp_path: Path) -> None:
    pairs = rows("gsm8k", dict(zip(ITEMS, (1, 0, 1), strict=True)))
    path = tmp_path / "log.jsonl"
    path.write_bytes(_lines(*pairs))
    assert read_log(path, "gsm8k", "exact_match", ITEMS).values.tolist() == [1, 0, 1]
    # Without its strict-match row, or without any, an item has flexible-extract's alone.
    for kept, line, item in ((pairs[1:], 1, "7"), (pairs[1::2], 1, "7"), (pairs[:-1], 5, "27")):
        path.write_bytes(_lines(*kept))
        with pytest.raises(LogError, match=f"line {line}: item '{item}' has one row"):
            read_log(path, "gsm8k", "exact_match", ITEMS)
