"""Work folders of single commands: what helps to go on is kept, what others put there, too."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metabench_py.calibration.run import _publish
from metabench_py.calibration.work import work_folder
from metabench_py.errors import InputError, StorageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_after(out: Path, content: bytes | None, work: Path | None = None) -> Path:
    """Write a result and fail, as an interrupted command; gives the folder."""
    given = []

    def block() -> None:
        with work_folder("select", work, out) as folder:
            given.append(folder)
            if content is not None:
                (folder / "search-arc.db").write_bytes(content)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        block()
    return given[0]


def test_what_helps_to_go_on_is_kept_until_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = fail_after(out, b"trials")
    assert (folder / "search-arc.db").read_bytes() == b"trials"
    with work_folder("select", None, out) as again:
        assert again == folder
        (folder / ".search.json.abcdefgh.unfinished").write_text("{")
        assert (folder / "search-arc.db").read_bytes() == b"trials"
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [None, b""])
@pytest.mark.parametrize("work", [None, "mine"])
def test_a_refusal_leaves_nothing(tmp_path: Path, content: bytes | None, work: str | None) -> None:
    fail_after(tmp_path / "out", content, None if work is None else tmp_path / work)
    assert names(tmp_path) == []


def test_a_folder_that_the_user_named_stays(tmp_path: Path) -> None:
    work = tmp_path / "mine"
    work.mkdir()
    (work / "empty.json").write_text("")
    fail_after(tmp_path / "out", None, work)
    with work_folder("select", work, tmp_path / "out"):
        (work / "search-arc.db").write_text("trials")
    assert names(work) == ["empty.json", "search-arc.db"]


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    folder = fail_after(tmp_path / "out", b"trials")
    (folder / "notes.txt").write_text("mine")
    with work_folder("select", None, tmp_path / "out"):
        pass
    assert "notes.txt" in names(folder)
    assert "search-arc.db" not in names(folder)


def test_a_folder_of_others_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / ".out.select-work"
    folder.mkdir()
    (folder / "thesis.json").write_text("{}")
    with (
        pytest.raises(InputError, match="not of our making"),
        work_folder("select", None, tmp_path / "out"),
    ):
        pytest.fail("the block must not run")
    assert names(folder) == ["thesis.json"]


def test_the_cache_of_a_run_is_another_folder(tmp_path: Path) -> None:
    cache = tmp_path / ".out.work" / "preprocess-0123"
    cache.mkdir(parents=True)
    with work_folder("select", None, tmp_path / "out"):
        pass
    assert cache.is_dir()


def test_a_place_in_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "afl").write_text("")
    with (
        pytest.raises(StorageError, match=r"Cannot write .*afl/w: Not a directory; choose another"),
        work_folder("select", tmp_path / "afl" / "w", tmp_path / "out"),
    ):
        pytest.fail("the block must not run")


def test_publishing_removes_nothing_of_others(tmp_path: Path) -> None:
    last, work, out = tmp_path / "select-0123", tmp_path / ".bench.work", tmp_path / "bench"
    last.mkdir()
    (last / "summary.json").write_text("{}")
    theirs = [".bench.mystuff1", ".bench.2024.work", ".bench.work"]
    for name in theirs:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years")
    (tmp_path / ".bench.x7abcde_.unfinished").mkdir()
    config = SimpleNamespace(out=out, work=work, responses=tmp_path / "responses")
    _publish(last, cast("Any", config))
    assert names(tmp_path) == sorted([*theirs, "bench", "select-0123"])
    assert all((tmp_path / name / "thesis.txt").is_file() for name in theirs)
    assert names(out) == ["summary.json"]
    assert json.loads((work / "published.json").read_text())["out"] == str(out)
