"""Pulling the released files, against a real HTTP server on the loopback."""

from __future__ import annotations

import hashlib
import http.server
import resource
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote

import pytest

from metabench_py.bundle.pull import is_transient, pull_released
from metabench_py.bundle.released import released_files
from metabench_py.bundle.trust import Upstream, upstream_files
from metabench_py.errors import DownloadError, InputError, StorageError

PATHS = released_files("A").paths


def _body(path: str) -> bytes:
    return (f"content of {path}\n" * 200).encode()


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


UPSTREAM = Upstream("owner/name", "c0ffee", {path: _blob(_body(path)) for path in PATHS})


@dataclass
class Server:
    """What to serve, and what was asked for."""

    address: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    # Answers to give before the body, by path: a status, or "short" for a broken body.
    troubles: dict[str, list[int | str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(bodies={path: _body(path) for path in PATHS})
    prefix = f"/{UPSTREAM.repository}/{UPSTREAM.commit}/"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path).removeprefix(prefix)
            state.requests.append(path)
            queue = state.troubles.get(path, [])
            trouble = queue.pop(0) if queue else None
            if isinstance(trouble, int) or path not in state.bodies:
                self.send_error(trouble if isinstance(trouble, int) else 404)
                return
            body = state.bodies[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if trouble == "short" else body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.address = f"http://127.0.0.1:{httpd.server_address[1]}"
        yield state
        httpd.shutdown()
        thread.join()


def _pull(server: Server, folder: Path, attempts: int = 3) -> list[Path]:
    return pull_released(
        "A", folder, address=server.address, upstream=UPSTREAM, attempts=attempts, pause=0.01
    )


def _left(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_all_files_arrive(server: Server, tmp_path: Path) -> None:
    files = _pull(server, tmp_path)
    assert _left(tmp_path) == set(PATHS)
    assert [p.read_bytes() for p in files] == [_body(p) for p in PATHS]
    assert server.requests == list(PATHS)


def test_second_pull_asks_only_for_what_is_missing_or_damaged(
    server: Server, tmp_path: Path
) -> None:
    _pull(server, tmp_path)
    server.requests.clear()
    (tmp_path / PATHS[3]).unlink()
    damaged = tmp_path / PATHS[5]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    _pull(server, tmp_path)
    assert server.requests == [PATHS[3], PATHS[5]]
    assert damaged.read_bytes() == _body(PATHS[5])


@pytest.mark.parametrize("trouble", [503, 429, 500, "short"])
def test_passing_trouble_is_retried(server: Server, tmp_path: Path, trouble: int | str) -> None:
    server.troubles[PATHS[2]] = [trouble, trouble]
    _pull(server, tmp_path)
    assert server.requests.count(PATHS[2]) == 3
    assert _left(tmp_path) == set(PATHS)


def test_not_found_is_not_retried_and_keeps_what_came(server: Server, tmp_path: Path) -> None:
    del server.bodies[PATHS[4]]
    with pytest.raises(DownloadError, match=r"404 .*1 of 3 tries.*run the same command") as caught:
        _pull(server, tmp_path)
    assert PATHS[4].split("=")[0] in caught.value.facts["url"]
    assert _left(tmp_path) == set(PATHS[:4])


def test_truncated_body_never_gets_the_name(server: Server, tmp_path: Path) -> None:
    server.troubles[PATHS[0]] = ["short"] * 9
    with pytest.raises(DownloadError, match="bytes are missing"):
        _pull(server, tmp_path)
    assert _left(tmp_path) == set()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_body(PATHS[1]), "another file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LFS pointer"),
        (b"", "another file"),
    ],
)
def test_wrong_content_is_refused(server: Server, tmp_path: Path, body: bytes, said: str) -> None:
    server.bodies[PATHS[0]] = body
    with pytest.raises(DownloadError, match=said):
        _pull(server, tmp_path)
    assert _left(tmp_path) == set()


def test_no_server(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DownloadError, match="no connection"):
        pull_released(
            "A", tmp_path, address="http://127.0.0.1:1", upstream=UPSTREAM, attempts=2, pause=0.01
        )


def test_address_comes_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABENCH_UPSTREAM_URL", server.address + "/")
    pull_released("A", tmp_path, upstream=UPSTREAM)
    assert _left(tmp_path) == set(PATHS)


def test_only_http_addresses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="http"):
        pull_released("A", tmp_path, address="file:///etc", upstream=UPSTREAM)


def test_full_disk_leaves_no_partial_file(server: Server, tmp_path: Path) -> None:
    _pull(server, tmp_path / "first")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(_body(PATHS[0])) // 2, limit[1]))
    try:
        with pytest.raises(StorageError, match="Nothing was changed"):
            _pull(server, tmp_path / "second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert _left(tmp_path / "second") == set()


def test_certificate_trouble_is_not_retried() -> None:
    assert not is_transient(URLError(ssl.SSLCertVerificationError("self-signed")))
    assert is_transient(URLError(ConnectionResetError()))


def test_unwritable_place(server: Server, tmp_path: Path) -> None:
    (tmp_path / "analysis").write_text("a file where a folder should be")
    with pytest.raises(StorageError):
        _pull(server, tmp_path)


@pytest.mark.parametrize("version", ["A", "B"])
def test_every_released_file_is_pinned(version: str) -> None:
    upstream = upstream_files()
    paths = released_files(version).paths  # type: ignore[arg-type]
    assert len(set(paths)) == 19
    assert all(len(upstream.files[path]) == 40 for path in paths)
    assert len(upstream.commit) == 40
