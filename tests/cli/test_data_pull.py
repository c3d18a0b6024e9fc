"""`data pull`: resumed, checked, safely unpacked; hostile archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.hub_content import FaultKind, Faults, Hub
from helpers.hub_server import serve
from typer.testing import CliRunner

from metabench_py.cli.app import app
from metabench_py.errors import DownloadError, InputError, MetabenchError, StorageError
from metabench_py.hub.retry import RetryRule
from metabench_py.hub.zenodo import pull_data, unpack


def data(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, MetabenchError):
        raise result.exception
    return result.exit_code, result.stdout


def archive(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = archive(
    (entry("data/", tarfile.DIRTYPE), b""),
    ("data/arc.csv", b"source,item,correct\n"),
    ("data/more/large.bin", np.random.default_rng(0).bytes(3_000_000)),
)
RECORD = "/api/records/12819251"


@pytest.fixture
def zenodo() -> Iterator[Hub]:
    hub = Hub()
    with serve(hub):
        publish(hub, GOOD)
        yield hub


def publish(hub: Hub, content: bytes, checksum: str | None = None) -> None:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    file = {"key": "data.tar.gz", "size": len(content), "checksum": checksum or f"md5:{digest}"}
    hub.other = {
        RECORD: json.dumps({"files": [{"key": "other"}, file]}).encode(),
        f"{RECORD}/files/data.tar.gz/content": content,
    }


QUICK = RetryRule(attempts=4, pause=0.01, timeout=1.0)


class TestPull:
    def pull(self, zenodo: Hub, out: Path, **options: bool) -> Path:
        return pull_data(out, address=zenodo.address, rule=QUICK, **options)

    def test_command(self, zenodo: Hub, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert data("pull", "--out", out, "--address", zenodo.address)[0] == 0
        assert (out / "data" / "arc.csv").read_bytes() == b"source,item,correct\n"
        assert (out / "data" / "more" / "large.bin").stat().st_size == 3_000_000
        assert list(tmp_path.iterdir()) == [out]
        with pytest.raises(StorageError, match="say --replace"):
            data("pull", "--out", out, "--address", zenodo.address)
        (out / "mine").write_text("x")
        self.pull(zenodo, out, replace=True)
        assert not (out / "mine").exists()

    @pytest.mark.parametrize("fault", ["429", "500", "reset", "truncated", "stall", "drip"])
    @pytest.mark.parametrize("where", [RECORD, "/content"])
    def test_faults(self, zenodo: Hub, tmp_path: Path, fault: FaultKind, where: str) -> None:
        zenodo.faults = Faults(stall_seconds=2.0)
        zenodo.planned = {where: [fault]}
        self.pull(zenodo, tmp_path / "out")
        assert (tmp_path / "out" / "data" / "arc.csv").exists()

    def test_goes_on_where_it_stopped(self, zenodo: Hub, tmp_path: Path) -> None:
        zenodo.planned = {"/content": ["truncated", "500", "500", "500"]}
        with pytest.raises(DownloadError, match="run the same command again to go on"):
            self.pull(zenodo, tmp_path / "out")
        part = tmp_path / "out.data.tar.gz.part"
        assert part.stat().st_size == len(GOOD) // 2
        zenodo.sent = 0
        self.pull(zenodo, tmp_path / "out", keep_archive=True)
        assert zenodo.sent < 0.6 * len(GOOD)
        assert (tmp_path / "data.tar.gz").read_bytes() == GOOD

    def test_other_content(self, zenodo: Hub, tmp_path: Path) -> None:
        publish(zenodo, GOOD, "md5:" + "0" * 32)
        with pytest.raises(DownloadError, match="another checksum"):
            self.pull(zenodo, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_damaged_part(self, zenodo: Hub, tmp_path: Path) -> None:
        (tmp_path / "out.data.tar.gz.part").write_bytes(b"something else")
        self.pull(zenodo, tmp_path / "out")

    def test_nobody_there(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match=r"no connection .* give a mirror \(--address\)"):
            pull_data(tmp_path / "out", address="http://127.0.0.1:9", rule=QUICK)
        with pytest.raises(InputError, match="not a http"):
            pull_data(tmp_path / "out", address="ftp://x")

    def test_no_such_record(self, zenodo: Hub, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="404"):
            pull_data(tmp_path / "out", address=zenodo.address, record="1", rule=QUICK)
        with pytest.raises(InputError, match="no file x"):
            pull_data(tmp_path / "out", address=zenodo.address, name="x", rule=QUICK)

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            (("../evil", b"x"), "leads outside"),
            (("/etc/evil", b"x"), "leads outside"),
            (("a/../../evil", b"x"), "leads outside"),
            (("c:\\evil", b"x"), "leads outside"),
            ((entry("link", tarfile.SYMTYPE, "/etc"), b""), "link or a device"),
            ((entry("link", tarfile.LNKTYPE, "data/arc.csv"), b""), "link or a device"),
            ((entry("pipe", tarfile.FIFOTYPE), b""), "link or a device"),
            ((entry("dev", tarfile.CHRTYPE), b""), "link or a device"),
            (("data/arc.csv", b"again"), "comes twice"),
        ],
    )
    def test_hostile_archives(
        self, zenodo: Hub, tmp_path: Path, member: tuple[str, bytes], message: str
    ) -> None:
        publish(zenodo, archive(("data/arc.csv", b"x"), member))
        inner = tmp_path / "inner"
        with pytest.raises(InputError, match=message):
            self.pull(zenodo, inner / "out")
        assert [p.name for p in inner.iterdir()] == ["out.data.tar.gz.part"]
        assert [p.name for p in tmp_path.iterdir()] == ["inner"]

    def test_bomb(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.tar.gz"
        path.write_bytes(archive(("zeros", b"\0" * 5_000_000)))
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="more than a data set could"):
            unpack(path, tmp_path / "out", largest=1_000_000)

    @pytest.mark.parametrize(
        "content",
        [b"not an archive", GOOD[: len(GOOD) // 2], gzip.compress(b"no tar" * 500)],
        # Compressed bytes hold the time, and so would their names.
        ids=["text", "cut", "no-tar"],
    )
    def test_broken_archive(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.tar.gz"
        path.write_bytes(content)
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="not a whole"):
            unpack(path, tmp_path / "out")
