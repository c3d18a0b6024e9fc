"""Kept connections against real servers: what is kept, what is dropped, what is left to others."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from metabench_py.hub.wire import Wire, chunks

BODY = b"some bytes " * 100_000


class Server(http.server.ThreadingHTTPServer):
    """Answers by path; counts connections and notes headers."""

    daemon_threads = True

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections: list[Any] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.elsewhere = ""
        self.tls = tls

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> Any:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self.connections.append(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        status, headers, body = 200, {}, BODY
        if self.path.startswith("/away"):
            status, headers, body = 302, {"Location": f"{self.server.elsewhere}/b c"}, b"moved"
        elif self.path == "/near":
            status, headers, body = 307, {"Location": "/body?x=1"}, b""
        elif self.path == "/round":
            status, headers, body = 302, {"Location": "/round"}, b""
        elif self.path.startswith("/status/"):
            status, headers = int(self.path[8:]), {"Retry-After": "3"}
        elif self.path == "/packed":
            headers = {"Content-Encoding": "gzip"}
        self.send_response(status)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 70_001):
                part = BODY[start : start + 70_001]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/then-gone":
            # Without a word, as a server does whose patience with idle connections is short.
            self.close_connection = True


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    with closing_server(Server(**options)) as server:
        yield server


@contextmanager
def closing_server(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for connection in server.connections:
            connection.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving()) for _ in range(2))
        first.elsewhere = second.address
        yield first, second


def body(wire: Wire, url: str, **headers: str) -> bytes | None:
    with wire.get(url, headers) as response:
        return None if response is None else b"".join(chunks(response))


@pytest.mark.parametrize("path", ["/body", "/chunked"])
def test_a_connection_is_kept(servers: tuple[Server, Server], path: str) -> None:
    first, _ = servers
    wire = Wire(5.0)
    for _ in range(5):
        assert body(wire, first.address + path) == BODY
    assert len(first.connections) == 1


@pytest.mark.parametrize("path", ["/last", "/then-gone"])
def test_a_closed_connection_is_not_used_again(servers: tuple[Server, Server], path: str) -> None:
    first, _ = servers
    wire = Wire(5.0)
    for _ in range(2):
        assert body(wire, first.address + path) == BODY
        # Until the server's thread has closed it.
        first.connections[-1].close() if path == "/last" else _wait_closed(first)
    assert len(first.connections) == 2


def _wait_closed(server: Server) -> None:
    for _ in range(500):
        if server.connections[-1].fileno() == -1:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the server keeps the connection open")


def test_half_a_body_spoils_the_connection_only(servers: tuple[Server, Server]) -> None:
    first, _ = servers
    wire = Wire(5.0)
    with wire.get(f"{first.address}/body", {}) as response:
        assert response is not None
        assert BODY.startswith(next(chunks(response)))
    assert body(wire, f"{first.address}/body") == BODY
    assert len(first.connections) == 2


def test_the_token_stays_with_its_server(servers: tuple[Server, Server]) -> None:
    first, second = servers
    wire = Wire(5.0)
    asked = {"Authorization": "Bearer hf_x", "Range": "bytes=5-"}
    assert body(wire, f"{first.address}/away?a=b%20c", **asked) == BODY
    ((path, headers),) = second.seen
    assert path == "/b%20c"
    assert headers["Range"] == "bytes=5-"
    assert "Authorization" not in headers
    assert body(wire, f"{first.address}/near", **asked) == BODY
    assert [path for path, _ in first.seen] == ["/away?a=b%20c", "/near", "/body?x=1"]
    assert all(headers["Authorization"] == "Bearer hf_x" for _, headers in first.seen)
    assert len(first.connections) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server(servers: tuple[Server, Server], status: int) -> None:
    first, _ = servers
    with pytest.raises(HTTPError) as caught:
        body(Wire(5.0), f"{first.address}/status/{status}")
    assert caught.value.code == status
    assert caught.value.headers["Retry-After"] == "3"


@pytest.mark.parametrize("path", ["/status/403", "/status/404", "/packed", "/round"])
def test_left_to_the_client(servers: tuple[Server, Server], path: str) -> None:
    assert body(Wire(5.0), servers[0].address + path) is None


def test_proxies_are_left_to_the_client(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = servers
    monkeypatch.setenv("http_proxy", second.address)
    assert body(Wire(5.0), f"{first.address}/body") is None
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert body(Wire(5.0), f"{first.address}/body") == BODY
    assert second.seen == []


def test_nobody_there() -> None:
    with pytest.raises(ConnectionRefusedError):
        body(Wire(5.0), "http://127.0.0.1:9/x")


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is trusted serves; one that is not is left to the client, which may know it."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(tls=context) as server:
        assert body(Wire(5.0), f"{server.address}/body") is None
        assert server.seen == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wire = Wire(5.0)
        assert [body(wire, f"{server.address}/body") for _ in range(3)] == [BODY] * 3
        assert len(server.connections) == 2


def test_idle_connections_are_closed_in_the_end(servers: tuple[Server, Server]) -> None:
    first, _ = servers
    wire = Wire(5.0)
    body(wire, f"{first.address}/body")
    ((connection,),) = wire._idle.values()
    with closing(connection):
        assert connection.sock is not None
        del wire
        assert connection.sock is None
