"""Writes are whole or not at all, also on a disk that is really full."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metabench_py.errors import StorageError
from metabench_py.responses import ResponseMatrix
from metabench_py.storage import (
    atomic_folder,
    atomic_path,
    check_writable,
    git_blob_sha1,
    remove_unfinished,
    sha256,
    write_json,
    write_text,
)

DISK_KIB = 64


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount program here")
    if done.returncode:
        pytest.skip(f"this machine refuses to mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        # Lazily, as a writer may not have closed its file yet.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_hashes_are_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"hello\n")
    assert git_blob_sha1(path) == "ce013625030ba8dba906f756967f9e9ca394464a"
    large = b"0123456789abcdef" * 200_000
    path.write_bytes(large)
    assert sha256(path) == hashlib.sha256(large).hexdigest()


def test_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    target = small_disk / "result.json"
    write_text(target, "old\n")
    with pytest.raises(StorageError, match=r"No space left on device.*free some space") as caught:
        write_text(target, "x" * (DISK_KIB + 10) * 1024)
    assert str(target) in str(caught.value)
    assert caught.value.facts == {"path": str(target)}
    assert target.read_text() == "old\n"
    assert [p.name for p in small_disk.iterdir()] == ["result.json"]


def test_full_disk_keeps_the_old_folder(small_disk: Path) -> None:
    target = small_disk / "bundle"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")

    def renew() -> None:
        with atomic_folder(target, replace=True, marks=("a",)) as folder:
            (folder / "a").write_text("new")
            (folder / "b").write_bytes(bytes((DISK_KIB + 10) * 1024))

    with pytest.raises(StorageError, match="No space left"):
        renew()
    assert (target / "a").read_text() == "old"
    assert [p.name for p in small_disk.iterdir()] == ["bundle"]


def test_full_disk_keeps_the_old_matrix(small_disk: Path) -> None:
    path = small_disk / "arc.parquet"
    ResponseMatrix(("m",), ("i",), np.array([[1]])).save(path)
    n = 800
    values = np.random.default_rng(0).integers(0, 2, (n, n))
    large = ResponseMatrix(tuple(map(str, range(n))), tuple(map(str, range(n))), values)
    with pytest.raises(StorageError, match="Nothing was changed"):
        large.save(path)
    assert ResponseMatrix.load(path).llms == ("m",)
    assert [p.name for p in small_disk.iterdir()] == ["arc.parquet"]


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    def half_a_file() -> None:
        with atomic_path(tmp_path / "deep" / "f") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    def half_a_folder() -> None:
        with atomic_folder(tmp_path / "deep" / "d") as folder:
            (folder / "a").write_text("half")
            raise ZeroDivisionError

    for attempt in (half_a_file, half_a_folder):
        with pytest.raises(ZeroDivisionError):
            attempt()
    assert list((tmp_path / "deep").iterdir()) == []


def test_the_target_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == tmp_path
    assert target.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "f", "")
        with atomic_folder(tmp_path / "d"):
            pass
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o750


def test_an_existing_folder_is_kept_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "d"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(StorageError, match="exists already"), atomic_folder(target):
        pytest.fail("the block must not run")
    with atomic_folder(target, replace=True, marks=("old",)) as folder:
        (folder / "new").write_text("")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    link = tmp_path / "link"
    link.symlink_to(target)
    with atomic_folder(link, replace=True, marks=("new",)) as folder:
        (folder / "newer").write_text("")
    assert [p.name for p in target.iterdir()] == ["newer"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "link"]


@pytest.mark.parametrize("marks", [(), ("summary.json", "manifest.json")])
def test_what_others_made_is_never_replaced(tmp_path: Path, marks: tuple[str, ...]) -> None:
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years")
    for target in (thesis, thesis.parent):
        with (
            pytest.raises(StorageError, match=r"no folder takes its place|so it is not replaced"),
            atomic_folder(target, replace=True, marks=marks),
        ):
            pytest.fail("the block must not run")
    assert [p.name for p in tmp_path.rglob("*")] == ["work", "thesis.txt"]
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty", replace=True, marks=marks) as folder:
        (folder / "new").write_text("")
    assert (tmp_path / "empty" / "new").is_file()


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        write_text(tmp_path / "file" / "f", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_json_is_readable_and_valid(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_json(path, {"größe": [1, 0.1]}, indent=None)
    assert path.read_text(encoding="utf-8") == '{"größe": [1, 0.1]}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, math.nan)
    assert path.read_text(encoding="utf-8") == '{"größe": [1, 0.1]}\n'


def test_only_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    theirs = [".d.mystuff1", ".d.2024.work", ".d.abcdefgh", ".d.work", ".e.abcdefgh.unfinished"]
    for name in theirs:
        (tmp_path / name).mkdir()

    def killed(target: Path) -> None:
        with atomic_folder(target, replace=True, marks=("a",)) as folder:
            (folder / "a").write_text("")
            # As a kill would leave it; the block's own end then finds nothing.
            folder.rename(folder.with_name(f"{folder.name}.kept"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        killed(tmp_path / "d")
    (left,) = tmp_path.glob(".d.*.kept")
    left.rename(left.with_name(left.name.removesuffix(".kept")))
    (tmp_path / ".d.a_cd0fgh.unfinished.old").mkdir()
    remove_unfinished(tmp_path, "d")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(theirs)


def test_a_place_in_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Cannot write .*deep: .*file is a file, not a folder"):
        check_writable(tmp_path / "file" / "more" / "deep")
    check_writable(tmp_path / "more" / "deep")
    check_writable(Path("/"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(StorageError, match="closed does not let you write into it"):
            check_writable(closed / "deep" / "out")
    finally:
        closed.chmod(0o700)
