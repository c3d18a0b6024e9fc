"""Builds and runs images without a Docker engine: debootstrap, buildah, podman, runc.

Everything lives in folders of ours (storage, configuration), so a machine's own containers are
neither seen nor touched. Packages come from where this machine's apt and pip take them: both get
their configuration by files made here and mounted for the build alone.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FOLDER = Path.home() / ".cache" / "metabench-py-system"

# Fewer cgroup and network features than the defaults ask for: a container here shares the host's
# network unless a test says --network none, and no limit is set.
_CONTAINERS_CONF = """\
[containers]
netns = "host"
cgroups = "enabled"
default_ulimits = []
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Containers:
    """buildah and podman with a private configuration under ``folder``."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> Containers:
        """Write the configuration; choose overlay storage where the kernel mounts it, else vfs."""
        folder.mkdir(parents=True, exist_ok=True)
        driver = "overlay" if _overlay_mounts(folder) else "vfs"
        # Short: podman cannot tell the end of a container whose runroot is above 50 characters,
        # and then waits 20 seconds for it.
        key = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        runroot = f"/run/metabench-py-{key}-{driver}"
        (folder / "containers.conf").write_text(_CONTAINERS_CONF)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "{driver}"\n'
            f'runroot = "{runroot}"\ngraphroot = "{folder}/storage-{driver}"\n'
        )
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point podman and buildah at the private configuration."""
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TMPDIR": tempfile.gettempdir(),
        }

    def run(self, *command: str | Path, timeout: float = 600) -> Finished:
        """Run a command with the private configuration; never raises for its exit code."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def check(self, *command: str | Path, timeout: float = 600) -> str:
        """Run a command that must succeed; its stdout."""
        done = self.run(*command, timeout=timeout)
        if done.code != 0:
            words = " ".join(str(part) for part in command)
            raise AssertionError(f"{words}\nended with {done.code}\n{done.out}\n{done.err}")
        return done.out

    def base_image(self, name: str, suite: str = "bookworm") -> str:
        """A minimal Debian as an image, made once; its name."""
        if self.run("podman", "image", "exists", name).code == 0:
            return name
        sources = apt_sources(suite)
        root = Path(tempfile.mkdtemp(prefix="base-", dir=self.folder))
        # dpkg waits for the disk at every file; in memory there is nothing to wait for.
        self.check("mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "metabench-base", root)
        try:
            self.check(
                "debootstrap", "--variant=minbase", suite, root, sources[0].split()[1], timeout=900
            )
            (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
            # What this machine's apt needs to reach its mirror: a proxy, for instance.
            settings = self.check("apt-config", "dump", "Acquire")
            (root / "etc/apt/apt.conf.d/80host").write_text(settings)
            # As in Debian's own container images.
            (root / "etc/dpkg/dpkg.cfg.d/docker-apt-speedup").write_text("force-unsafe-io\n")
            for archive in (root / "var/cache/apt/archives").glob("*.deb"):
                archive.unlink()
            self.check("sh", "-c", f"tar -C '{root}' -c . | podman import --quiet - {name}")
        finally:
            self.check("umount", "--recursive", root)
            root.rmdir()
        return name

    def build(
        self, name: str, base: str, arguments: dict[str, str], timeout: float = 1800
    ) -> Finished:
        """Build the Dockerfile as ``name``; layers that are there are used again."""
        with tempfile.TemporaryDirectory(prefix="pip-", dir=self.folder) as mounted:
            mounts = write_pip_configuration(Path(mounted))
            given = {"BASE_IMAGE": base, "PIP_CONFIG_FILE": "/mnt/pip/pip.conf"} | arguments
            return self.run(
                *("buildah", "bud", "--isolation", "chroot", "--network", "host"),
                *("--format", "docker", "--layers", "--pull-never"),
                *(f"--build-arg={key}={value}" for key, value in given.items()),
                *(f"--volume={mount}" for mount in mounts),
                *("--file", "docker/Dockerfile", "--tag", name, "."),
                timeout=timeout,
            )


def _overlay_mounts(folder: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=folder) as probe:
        for part in ("lower", "upper", "work", "merged"):
            (Path(probe) / part).mkdir()
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        script = f"mount -t overlay overlay -o '{options}' '{probe}/merged'"
        # In a mount namespace of its own, so nothing is left mounted.
        tried = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True)
        return tried.returncode == 0


def apt_sources(suite: str) -> list[str]:
    """This machine's own sources of Debian's ``suite`` for sources.list, the main one first."""
    fields = ("CREATED_BY", "ORIGIN", "REPO_URI", "CODENAME", "COMPONENT")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "|".join(f"$({field})" for field in fields)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines: list[str] = []
    for row in listed.splitlines():
        created_by, origin, address, codename, component = row.split("|")
        if created_by == "Packages" and origin == "Debian" and codename.split("-")[0] == suite:
            lines.append(f"deb {address} {codename} {component}")
    lines = sorted(set(lines), key=lambda line: line.split()[2])
    if not lines or lines[0].split()[2] != suite:
        raise AssertionError(f"apt has no source of Debian {suite} here: run apt-get update")
    return lines


def write_pip_configuration(folder: Path) -> list[str]:
    """Write this machine's pip configuration for the build; the mounts that it needs.

    Local files and folders that it names (a certificate, wheels) are mounted read-only.
    """
    listed = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    chosen: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        level, _, name = key.rpartition(".")
        # pip lets its environment variables win, then the more special of its files.
        rank = _PIP_LEVELS.index(level) if level in _PIP_LEVELS else len(_PIP_LEVELS)
        if name in _PIP_SETTINGS and rank < chosen.get(name, (len(_PIP_LEVELS), ""))[0]:
            chosen[name] = (rank, value.strip("'\""))
    mounts = {f"{folder}:/mnt/pip:ro": None}
    lines = ["[global]"]
    for name, (_, text) in chosen.items():
        inside = []
        for value in text.replace("\\n", " ").split():
            path = Path(value.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                # An index of local files links to its neighbours, so its parent comes along.
                source = path.parent if name.endswith("index-url") else path
                mounts[f"{source}:/mnt/host{source}:ro"] = None
                value = value.replace(str(path), f"/mnt/host{path}")
            inside.append(value)
        lines.append(f"{name} = " + "\n    ".join(inside))
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return list(mounts)


_PIP_LEVELS = (":env:", "site", "user", "global")
_PIP_SETTINGS = (
    *("cert", "index-url", "extra-index-url", "find-links", "constraint"),
    *("trusted-host", "proxy", "default-timeout", "timeout"),
)
