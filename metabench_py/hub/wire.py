"""Gets bodies over kept connections of the standard library.

The Hub's client spends several milliseconds of Python on each answer, which for small files is
most of a run. Here is only what a file's body needs: kept connections, redirects, TLS. Whatever
is unusual is left to the client: proxies, certificates that only it trusts, compressed bodies,
and refusals, whose meaning it knows.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from metabench_py.hub.retry import is_transient_status

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 8
# What may stand in a Location as it is; the rest is quoted.
_PLAIN = "!#$%&'()*+,/:;=?@[]~"
_CHUNK = 1 << 18

_Idle = dict[tuple[str, str], list[HTTPConnection]]


class Wire:
    """Connections that several threads share; each is used by one at a time.

    Parameters
    ----------
    timeout
        Seconds without any byte before a request counts as failed.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._idle: _Idle = {}
        self._lock = threading.Lock()
        self._proxies = getproxies()
        self._tls: ssl.SSLContext | None = None
        self._distrusted: set[str] = set()
        weakref.finalize(self, _close, self._idle)

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[HTTPResponse | None]:
        """Ask for an address; None if the Hub's client had better do it.

        Raises
        ------
        HTTPError
            The server is busy or in trouble.
        OSError, http.client.HTTPException
            No whole answer came.
        """
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            if not self._serves(parts):
                break
            try:
                connection = self._take(parts)
            except ssl.SSLCertVerificationError:
                self._distrusted.add(parts.netloc)
                break
            response: HTTPResponse | None = None
            try:
                target = parts.path + ("?" + parts.query if parts.query else "")
                connection.request("GET", target or "/", headers=dict(headers))
                response = connection.getresponse()
                where = response.headers.get("Location")
                if response.status in _REDIRECTS and where:
                    response.read()
                else:
                    if is_transient_status(response.status):
                        text = response.reason
                        raise HTTPError(url, response.status, text, response.headers, None)
                    if response.status >= 400 or _is_compressed(response):
                        break
                    yield response
                    return
            finally:
                self._give_back(parts, connection, response)
            url = urljoin(url, quote(where, safe=_PLAIN))
            if urlsplit(url)[:2] != parts[:2]:
                # The token is for the Hub alone.
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
        yield None

    def _serves(self, parts: SplitResult) -> bool:
        if parts.scheme not in ("http", "https") or parts.netloc in self._distrusted:
            return False
        proxied = parts.scheme in self._proxies or "all" in self._proxies
        return not proxied or bool(proxy_bypass(parts.netloc))

    def _take(self, parts: SplitResult) -> HTTPConnection:
        """Give a connection that is open."""
        while True:
            with self._lock:
                idle = self._idle.get((parts.scheme, parts.netloc))
                connection = idle.pop() if idle else None
            if connection is None:
                break
            # Something to read where nothing was asked: the server has closed it.
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        connection = self._new(parts)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _new(self, parts: SplitResult) -> HTTPConnection:
        if parts.scheme == "http":
            return HTTPConnection(parts.netloc, timeout=self._timeout)
        with self._lock:
            # Reading the certificates takes a while: once for all connections.
            self._tls = self._tls or ssl.create_default_context()
        return HTTPSConnection(parts.netloc, timeout=self._timeout, context=self._tls)

    def _give_back(
        self, parts: SplitResult, connection: HTTPConnection, response: HTTPResponse | None
    ) -> None:
        if response is not None and not response.will_close:
            if response.length == 0:
                response.close()
            if response.isclosed():
                with self._lock:
                    self._idle.setdefault((parts.scheme, parts.netloc), []).append(connection)
                return
        if response is not None:
            response.close()
        connection.close()


def chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Give a body as it comes from the socket."""
    while chunk := response.read1(_CHUNK):
        yield chunk


def _is_compressed(response: HTTPResponse) -> bool:
    return str(response.headers.get("Content-Encoding", "identity")) != "identity"


def _close(idle: _Idle) -> None:
    for connections in idle.values():
        for connection in connections:
            connection.close()
