"""A local stand-in of the Hugging Face Hub: real HTTP, so that the real client talks to it.

It answers what the client asks for: repository info (with file metadata), tree, paths-info,
resolve with redirects, entity tags and ranges, raw LFS pointers; gated, deleted and renamed
repositories. What it holds and spoils is in `hub_content`.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from helpers.hub_content import LFS_SUFFIXES, FaultKind, Hub, Repo, git_sha1, lfs_pointer


@contextlib.contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve on a free port of the loopback; ``hub.address`` is the endpoint."""
    with _listening(hub) as hub.address, _listening(hub) as hub.cdn:
        yield hub


@contextlib.contextmanager
def _listening(hub: Hub) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    # Broken pipes are what the faults are for.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        # Headers and body are two writes; Nagle's algorithm would hold the second one back.
        disable_nagle_algorithm = True
        fault: FaultKind | None = None

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.form = parse_qs(self.rfile.read(length).decode()) if length else {}
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            with hub.lock:
                hub.requests.append((self.command, path))
                hub.given[path] += 1
                number = hub.given[path]
                planned = next((v for k, v in hub.planned.items() if k in path and v), None)
                self.fault = planned.pop(0) if planned else None
            if hub.latency:
                time.sleep(hub.latency)
            if self.fault is None and path != "/":
                has_digest = path.startswith("/cdn/") or "/resolve/" in path
                self.fault = hub.faults.choose(path, number, has_digest)
            if self.fault in ("429", "500", "503"):
                extra = {"Retry-After": hub.faults.retry_after} if self.fault == "429" else {}
                self._send(int(self.fault), b"spoilt on purpose", extra)
            elif self.fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
            else:
                self._route(path, parse_qs(parts.query))

        def _route(self, path: str, query: dict[str, list[str]]) -> None:
            if path == "/":
                return self._send(200, b"stand-in hub")
            if path in hub.other:
                return self._body(hub.other[path], {})
            if path.startswith("/cdn/"):
                return self._cdn(path)
            api = re.fullmatch(
                r"/api/(datasets|models)/([^/]+(?:/[^/]+)?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?",
                path,
            )
            if api:
                kind, name, what, revision, inner = api.groups()
                return self._api(kind, name, what or "revision", revision, inner or "", query)
            file = re.fullmatch(r"/(datasets/)?([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)", path)
            if file:
                kind = "datasets" if file[1] else "models"
                return self._file(kind, file[2], file[3], file[4], file[5])
            return self._send(404, b"no such address")

        def _find(self, kind: str, name: str, revision: str | None) -> Repo | None:
            """The repository, or None after the answer that says why not."""
            new = hub.moved.get(name)
            if new is None and "/" in name and (org := hub.moved.get(name.split("/")[0])):
                new = f"{org}/{name.split('/')[1]}"
            if new is not None:
                where = self.path.replace(quote(name), quote(new), 1)
                self._send(307, b"", {"Location": where})
                return None
            repo = hub.repos.get(name)
            if repo is None or repo.kind != kind or repo.state in ("deleted", "hidden"):
                hidden = repo is not None and repo.state == "hidden"
                self._refuse(401 if hidden else 404, "RepoNotFound", "Repository not found")
                return None
            if revision not in (None, "main", hub.commit(repo)):
                self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return None
            return repo

        def _api(
            self,
            kind: str,
            name: str,
            what: str,
            revision: str | None,
            inner: str,
            query: dict[str, list[str]],
        ) -> None:
            repo = self._find(kind, name, revision)
            if repo is None:
                return
            if what == "tree":
                self._tree(repo, name, inner, query)
            elif what == "paths-info":
                wanted = self.form.get("paths", [])
                self._json([self._entry(p, repo.files[p]) for p in wanted if p in repo.files])
            else:
                blobs = query.get("blobs", [""])[0].lower() in ("true", "1")
                self._json(
                    {
                        "_id": "0",
                        "id": name,
                        "sha": hub.commit(repo),
                        "private": False,
                        "disabled": False,
                        "gated": "manual" if repo.state == "gated" else False,
                        "tags": [],
                        "cardData": repo.card,
                        "siblings": [self._sibling(p, c, blobs) for p, c in repo.files.items()],
                        **repo.info,
                    }
                )

        def _tree(self, repo: Repo, name: str, inner: str, query: dict[str, list[str]]) -> None:
            prefix = inner.strip("/") + "/" if inner.strip("/") else ""
            recursive = query.get("recursive", [""])[0].lower() in ("true", "1")
            entries: dict[str, dict[str, Any]] = {}
            for path, content in sorted(repo.files.items()):
                if not path.startswith(prefix):
                    continue
                rest = path.removeprefix(prefix)
                if "/" in rest:
                    folder = prefix + rest.split("/")[0]
                    entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40,
                                       "size": 0}  # fmt: skip
                    if not recursive:
                        continue
                entries[path] = self._entry(path, content)
            if prefix and not entries:
                self._refuse(404, "EntryNotFound", f"{inner} does not exist")
                return
            rows, page = list(entries.values()), 500
            start = int(query.get("cursor", ["0"])[0])
            extra = {}
            if start + page < len(rows):
                here = urlsplit(self.path)
                kept = [p for p in here.query.split("&") if p and not p.startswith("cursor=")]
                kept.append(f"cursor={start + page}")
                extra["Link"] = f'<{hub.address}{here.path}?{"&".join(kept)}>; rel="next"'
            self._json(rows[start : start + page], extra)

        def _sibling(self, path: str, content: bytes, blobs: bool) -> dict[str, Any]:
            if not blobs:
                return {"rfilename": path}
            sha256, sha1 = hub.digests(content)
            if not path.endswith(LFS_SUFFIXES):
                return {"rfilename": path, "size": len(content), "blobId": sha1}
            pointer = lfs_pointer(sha256, len(content))
            return {
                "rfilename": path,
                "size": len(content),
                "blobId": git_sha1(pointer),
                "lfs": {"sha256": sha256, "size": len(content), "pointerSize": len(pointer)},
            }

        def _entry(self, path: str, content: bytes) -> dict[str, Any]:
            sibling = self._sibling(path, content, True)
            entry = {"type": "file", "path": path, "oid": sibling["blobId"], "size": len(content)}
            if lfs := sibling.get("lfs"):
                entry["lfs"] = {"oid": lfs["sha256"], "size": lfs["size"],
                                "pointerSize": lfs["pointerSize"]}  # fmt: skip
            return entry

        def _file(self, kind: str, name: str, how: str, revision: str, path: str) -> None:
            repo = self._find(kind, name, revision)
            if repo is None:
                return
            if repo.state == "gated" and not self.headers.get("Authorization"):
                self._refuse(
                    403,
                    "GatedRepo",
                    "Access to this dataset is restricted. You must be authorized.",
                )
            elif path not in repo.files:
                self._refuse(404, "EntryNotFound", "Entry not found")
            else:
                content = repo.files[path]
                lfs = path.endswith(LFS_SUFFIXES)
                commit = {"X-Repo-Commit": hub.commit(repo)}
                sha256, sha1 = hub.digests(content)
                if how == "raw":
                    self._body(lfs_pointer(sha256, len(content)) if lfs else content, commit)
                elif lfs:
                    where = f"{hub.cdn}/cdn/{sha256}?of={quote(name)}&path={quote(path)}"
                    self._send(
                        302,
                        b"",
                        {
                            **commit,
                            "Location": where,
                            "X-Linked-Etag": f'"{sha256}"',
                            "X-Linked-Size": str(len(content)),
                        },
                    )
                else:
                    self._body(content, {**commit, "ETag": f'"{sha1}"'})

        def _cdn(self, path: str) -> None:
            query = parse_qs(urlsplit(self.path).query)
            repo = hub.repos.get(query.get("of", [""])[0])
            content = repo.files.get(query.get("path", [""])[0]) if repo else None
            if content is None:
                self._send(404, b"no such object")
            else:
                self._body(content, {"ETag": f'"{path.removeprefix("/cdn/")}"'})

        def _body(self, content: bytes, headers: dict[str, str]) -> None:
            headers = {"Accept-Ranges": "bytes", **headers}
            status, part = 200, content
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked:
                start = int(asked[1])
                stop = min(int(asked[2]) + 1 if asked[2] else len(content), len(content))
                if start >= len(content):
                    whole = {"Content-Range": f"bytes */{len(content)}"}
                    self._send(416, b"", whole)
                    return
                status, part = 206, content[start:stop]
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            self._send(status, part, headers)

        def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
            body = json.dumps(value).encode()
            self._send(200, body, {"Content-Type": "application/json", **(headers or {})})

        def _refuse(self, status: int, code: str, message: str) -> None:
            headers = {"X-Error-Code": code, "X-Error-Message": message}
            self._send(status, json.dumps({"error": message}).encode(), headers)

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD" or not body:
                return
            if self.fault == "truncated":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            if self.fault == "corrupt":
                at = len(body) // 2
                body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
            elif self.fault == "drip":
                step = max(1, len(body) // 5)
                while len(body) > step:
                    self.wfile.write(body[:step])
                    body = body[step:]
                    time.sleep(hub.faults.drip_seconds / 5)
            elif self.fault == "stall":
                self.wfile.write(body[: len(body) // 2])
                time.sleep(hub.faults.stall_seconds)
                self.close_connection = True
                return
            self.wfile.write(body)
            with hub.lock:
                hub.sent += len(body)

    return Handler
