"""The network part against the stand-in: every fault, every refusal; no client function patched."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import get_args
from urllib.error import HTTPError, URLError

import pytest
from helpers.hub_content import FaultKind, Faults, Hub, Repo
from helpers.hub_files import ORG, Spec, generate
from helpers.hub_server import serve

from metabench_py.errors import DownloadError, InputError, StorageError
from metabench_py.hub.answers import RefusedError
from metabench_py.hub.listing import HubFile
from metabench_py.hub.retry import (
    LONGEST_WAIT,
    DamagedBodyError,
    Gate,
    RetryRule,
    StoppedError,
    is_broken_connection,
    is_transient,
    retry_after,
    with_retries,
)
from metabench_py.hub.transport import HubClient

QUICK = RetryRule(attempts=4, pause=0.01, timeout=1.0)
STATUS_FAULTS = ("429", "500", "503", "reset")
TEXT = b"some text\n" * 500


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub, _ = generate(Spec(n_models=1, subjects=1))
    hub.repos[f"{ORG}/text"] = Repo({"notes/a b|c:d.json": TEXT})
    with serve(hub):
        yield hub


@pytest.fixture
def client(hub: Hub) -> HubClient:
    return HubClient(QUICK, endpoint=hub.address)


def http_error(status: int, **headers: str) -> HTTPError:
    message = Message()
    for key, value in headers.items():
        message[key.replace("_", "-")] = value
    return HTTPError("http://x", status, "", message, None)


class TestPredicate:
    @pytest.mark.parametrize(
        ("error", "transient"),
        [
            *((http_error(status), True) for status in (408, 425, 429, 500, 502, 503, 504)),
            *((http_error(status), False) for status in (400, 401, 403, 404, 410, 416, 501)),
            (ConnectionResetError(), True),
            (TimeoutError(), True),
            (URLError("refused"), True),
            (URLError(ssl.SSLCertVerificationError()), False),
            (http.client.IncompleteRead(b""), True),
            (DamagedBodyError("short"), True),
            (json.JSONDecodeError("", "", 0), True),
            (OSError(28, "No space left on device"), False),
            (PermissionError(13, "no"), False),
            (ValueError(), False),
            (KeyError(), False),
            (StoppedError(), False),
            (InputError("x"), False),
        ],
    )
    def test_what_is_tried_again(self, error: Exception, transient: bool) -> None:
        assert is_transient(error) is transient

    def test_offline_mode_is_no_broken_connection(self) -> None:
        from huggingface_hub.errors import OfflineModeIsEnabled

        assert not is_transient(OfflineModeIsEnabled("x"))

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry_After": "7"}, 7.0),
            ({"Retry_After": "0"}, 0.0),
            ({"Retry_After": "Tue, 01 Jul 2025 12:01:30 GMT"}, 90.0),
            ({"Retry_After": "Tue, 01 Jul 2025 11:00:00 GMT"}, 0.0),
            ({"Retry_After": "soon"}, None),
            ({"RateLimit": '"api";r=0;t=55'}, 55.0),
            ({}, None),
        ],
    )
    def test_retry_after(self, headers: dict[str, str], seconds: float | None) -> None:
        now = datetime(2025, 7, 1, 12, 0, 0, tzinfo=UTC)
        assert retry_after(http_error(429, **headers), now) == seconds

    def test_retry_after_is_waited_for(self) -> None:
        calls = []

        def action() -> str:
            calls.append(time.monotonic())
            if len(calls) == 1:
                raise http_error(429, Retry_After="0.4")
            return "done"

        assert with_retries("x", action, QUICK, Gate()) == "done"
        assert calls[1] - calls[0] >= 0.4

    def test_one_pause_holds_all_threads(self) -> None:
        gate, begun = Gate(), time.monotonic()
        gate.close_for(0.3)
        with_retries("x", lambda: None, QUICK, gate)
        assert time.monotonic() - begun >= 0.3

    def test_too_long_a_pause_is_not_waited_for(self) -> None:
        def action() -> None:
            raise http_error(429, Retry_After=str(int(LONGEST_WAIT) + 1))

        with pytest.raises(DownloadError, match="1 of 4 tries; it asks to wait 901 s"):
            with_retries("x", action, QUICK, Gate())

    def test_stop_ends_a_pause(self) -> None:
        gate = Gate(threading.Event())
        gate.close_for(60)
        threading.Timer(0.1, gate.stop.set).start()
        with pytest.raises(StoppedError):
            gate.wait()

    def test_delays_double(self) -> None:
        rule = RetryRule(pause=1.0)
        for attempt in (1, 2, 3):
            assert 0.5 * 2 ** (attempt - 1) <= rule.delay(attempt) <= 1.5 * 2 ** (attempt - 1)
        assert rule.delay(20) <= 90


class TestFetch:
    @pytest.fixture(params=["memory", "disk"], autouse=True)
    def _kept_in(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if request.param == "disk":
            monkeypatch.setattr("metabench_py.hub.transport.IN_MEMORY", -1)

    def get(self, client: HubClient, tmp_path: Path, name: str = f"{ORG}/text") -> bytes:
        listing = client.listing(name)
        file = max(listing.files.values(), key=lambda f: f.size or 0)
        return client.read(listing.repository, listing.revision, file, tmp_path / "part")

    def test_plain_and_lfs(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        assert self.get(client, tmp_path) == TEXT
        name = next(n for n in hub.repos if "details" in n)
        largest = max(hub.repos[name].files.values(), key=len)
        assert self.get(client, tmp_path, name) == largest
        assert hub.count("/cdn/") == 1
        assert not (tmp_path / "part").exists()

    @pytest.mark.parametrize("fault", get_args(FaultKind))
    @pytest.mark.parametrize("where", ["/resolve/", "/cdn/"])
    def test_each_fault(
        self, hub: Hub, client: HubClient, tmp_path: Path, fault: FaultKind, where: str
    ) -> None:
        name = next(n for n in hub.repos if "details" in n)
        largest = max(hub.repos[name].files.values(), key=len)
        hub.faults = Faults(stall_seconds=3.0)
        hub.planned = {where: [fault, fault]}
        assert self.get(client, tmp_path, name) == largest
        # A redirect has no body to spoil, and a slow body is whole in the end: one answer does.
        harmless = fault == "drip" or (where == "/resolve/" and fault not in STATUS_FAULTS)
        assert len(hub.planned[where]) == int(harmless)

    @pytest.mark.parametrize("fault", ["429", "500", "503", "reset", "truncated", "drip"])
    def test_each_fault_of_the_listing(self, hub: Hub, client: HubClient, fault: FaultKind) -> None:
        hub.planned = {"/api/datasets/": [fault, fault]}
        assert set(client.listing(f"{ORG}/text").files) == {"notes/a b|c:d.json"}

    def test_goes_on_where_it_broke(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        name = next(n for n in hub.repos if "details" in n)
        content = b"x" * 3_000_000
        hub.repos[name] = Repo({"large.parquet": content})
        hub.planned = {"/cdn/": ["truncated"]}
        assert self.get(client, tmp_path, name) == content
        # Half of it at first, and then the other half: less than two whole bodies.
        assert hub.sent < 2.0 * len(content)

    def test_starts_anew_after_other_bytes(
        self, hub: Hub, client: HubClient, tmp_path: Path
    ) -> None:
        (tmp_path / "part").write_bytes(b"left over from something else")
        assert self.get(client, tmp_path) == TEXT

    def test_hash_that_stays_wrong(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        hub.planned = {"/resolve/": ["corrupt"] * 4}
        with pytest.raises(DownloadError, match=r"git hash\) \(4 of 4 tries\)") as caught:
            self.get(client, tmp_path)
        assert caught.value.facts["connection"] is False
        assert not (tmp_path / "part").exists()

    def test_more_than_the_listing_says(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        listing = client.listing(f"{ORG}/text")
        short = HubFile("notes/a b|c:d.json", 100, git_sha1="0" * 40)
        with pytest.raises(DownloadError, match=r"bytes came in place of 100 \(4 of 4 tries\)"):
            client.read(listing.repository, listing.revision, short, tmp_path / "part")
        assert not (tmp_path / "part").exists()

    def test_memory_is_used_again(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        contents = [b"a" * 3_000_000, b"b" * 10, b"", b"c" * 70_000]
        for i, content in enumerate(contents):
            hub.repos[f"{ORG}/text"].files[f"{i}.bin"] = content
        hub.repos[f"{ORG}/again"] = Repo(hub.repos[f"{ORG}/text"].files)
        listing = client.listing(f"{ORG}/again")
        for _ in range(2):
            for i, content in enumerate(contents):
                at = (listing.repository, listing.revision, listing.files[f"{i}.bin"])
                with client.body(*at, tmp_path / "part") as body:
                    got = body.read_bytes() if isinstance(body, Path) else bytes(body)
                assert got == content
                assert not (tmp_path / "part").exists()
            client.rest()

    def test_server_that_stays_broken(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        hub.planned = {"/resolve/": ["503"] * 4}
        with pytest.raises(DownloadError, match="503 Service Unavailable"):
            self.get(client, tmp_path)

    def test_client_cache_is_used(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        from huggingface_hub import constants, hf_hub_download

        listing = client.listing(f"{ORG}/text")
        file = listing.files["notes/a b|c:d.json"]
        there = hf_hub_download(
            listing.repository,
            file.path,
            repo_type="dataset",
            revision=listing.revision,
            endpoint=hub.address,
            cache_dir=constants.HF_HUB_CACHE,
        )
        hub.requests.clear()
        path = client.fetch(listing.repository, listing.revision, file, tmp_path / "part")
        assert str(path) == there
        assert hub.requests == []

    def test_disk_trouble_is_not_the_network(
        self, hub: Hub, client: HubClient, tmp_path: Path
    ) -> None:
        listing = client.listing(f"{ORG}/text")
        file = listing.files["notes/a b|c:d.json"]
        with pytest.raises(StorageError, match="Cannot keep what comes from"):
            client.fetch(listing.repository, listing.revision, file, tmp_path / "no" / "part")

    def test_stop(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        client.stop.set()
        with pytest.raises(StoppedError):
            self.get(client, tmp_path)


class TestRefusals:
    @pytest.mark.parametrize(("state", "means"), [("deleted", "absent"), ("hidden", "absent")])
    def test_repository(self, hub: Hub, client: HubClient, state: str, means: str) -> None:
        hub.repos[f"{ORG}/text"].state = state  # type: ignore[assignment]
        with pytest.raises(RefusedError) as caught:
            client.listing(f"{ORG}/text")
        assert caught.value.state == means
        assert hub.count("/api/") == 1

    def test_gated_file(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        hub.repos[f"{ORG}/text"].state = "gated"
        listing = client.listing(f"{ORG}/text")
        assert listing.gated
        file = listing.files["notes/a b|c:d.json"]
        with pytest.raises(RefusedError, match="hf auth login") as caught:
            client.fetch(listing.repository, listing.revision, file, tmp_path / "part")
        assert caught.value.state == "gated"
        # Once for the body and once by the Hub's client, which knows what a refusal means.
        assert hub.count("/resolve/") == 2
        # With a token it is there.
        known = HubClient(QUICK, endpoint=hub.address, token="hf_x")
        assert known.read(listing.repository, listing.revision, file, tmp_path / "part") == TEXT

    def test_absent_file_and_revision(self, client: HubClient, tmp_path: Path) -> None:
        listing = client.listing(f"{ORG}/text")
        with pytest.raises(RefusedError, match="does not have it") as caught:
            client.fetch(listing.repository, listing.revision, HubFile("no"), tmp_path / "part")
        assert caught.value.state == "absent"
        with pytest.raises(RefusedError, match="does not have this revision"):
            client.listing(f"{ORG}/text", "0" * 40)

    def test_impossible_name(self, client: HubClient) -> None:
        with pytest.raises(RefusedError, match="no repository can have this name"):
            client.listing("org/details_a--b..c__")

    def test_renamed_organisation(self, hub: Hub, client: HubClient, tmp_path: Path) -> None:
        hub.moved["former"] = ORG
        listing = client.listing("former/text")
        assert listing.repository == f"{ORG}/text"
        file = listing.files["notes/a b|c:d.json"]
        assert client.read("former/text", listing.revision, file, tmp_path / "part") == TEXT

    def test_nobody_there(self, tmp_path: Path) -> None:
        client = HubClient(QUICK, endpoint="http://127.0.0.1:9")
        with pytest.raises(DownloadError, match=r"Cannot reach the Hub at http://127.0.0.1:9 \("):
            client.check()

    def test_check_survives_faults(self, hub: Hub, client: HubClient) -> None:
        hub.planned = {"/": ["reset", "reset"]}
        client.check()


def test_errors_of_the_real_client_are_classified(hub: Hub) -> None:
    """What the client really raises for each fault, not what we think it raises."""
    from huggingface_hub import HfApi

    hub.faults = Faults(stall_seconds=2.0)
    for fault in ("429", "500", "reset", "truncated", "stall"):
        hub.planned = {"/api/datasets/": [fault]}  # type: ignore[list-item]
        with pytest.raises(Exception) as caught:  # noqa: PT011
            HfApi(endpoint=hub.address).dataset_info(f"{ORG}/text", timeout=0.5)
        assert is_transient(caught.value), fault
        assert is_broken_connection(caught.value) is (fault not in ("429", "500")), fault


def test_the_clients_own_downloads_work_too(hub: Hub, tmp_path: Path) -> None:
    """The stand-in speaks the whole protocol: snapshot, tree, range reads by file system."""
    import pandas as pd
    from huggingface_hub import HfApi, HfFileSystem, snapshot_download

    name = next(n for n in hub.repos if "details" in n)
    folder = snapshot_download(
        name, repo_type="dataset", endpoint=hub.address, cache_dir=tmp_path / "cache"
    )
    files = {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*.*")
             if p.is_file()}  # fmt: skip
    assert files == hub.repos[name].files
    tree = HfApi(endpoint=hub.address).list_repo_tree(name, repo_type="dataset", recursive=True)
    assert {entry.path for entry in tree} >= set(files)
    path = next(p for p in files if "arc:challenge" in p)
    with HfFileSystem(endpoint=hub.address).open(f"datasets/{name}/{path}") as stream:
        assert len(pd.read_parquet(stream)) == 9
